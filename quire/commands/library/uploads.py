"""Files of this machine that become a corpus: read, uploaded, and what was seen in them."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from quire.client import Client
from quire.client.replies import Corpus, Finding
from quire.client.requests.sources import find_files
from quire.client.requests.uploads import Data, size_of, unreadable
from quire.commands.library.items_options import TEXT, Shape
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import err, escape, transfer_progress
from quire.terminal.ways import as_options
from shared.texts.decoding import Options, decode_files
from shared.texts.findings import RefusedText
from shared.texts.items import ItemsOptions, ItemsShape, cut_into_items

Encoding = Annotated[
    str | None,
    typer.Option(
        help="The encoding of the file, such as cp1252.",
        show_default="a byte order mark's, else UTF-8",
    ),
]
OnInvalid = Annotated[
    str | None,
    typer.Option(
        help="What to do with bytes that are not in the encoding: refuse, replace or drop.",
        show_default="refuse",
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(help="Bring the text to a normal form of Unicode: nfc or nfd."),
]


def read_file(path: str) -> bytes:
    """Read the bytes of a file, or of standard input for ``-``.

    Raises:
        InvalidInput: The file can't be read; the message says why.
    """
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def find_all(paths: Sequence[str]) -> list[tuple[str, bytes | Path]]:
    """Find files and those of folders; standard input, as ``-``, is read at once.

    Raises:
        InvalidInput: A file can't be read, or a folder has no files.
    """
    found: list[tuple[str, bytes | Path]] = []
    for path in paths:
        if path == "-":
            found.append((path, read_file(path)))
            continue
        files = find_files([path])
        for _, file in files:
            size_of(file)
        found += files
    return found


def read_files(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Read files, and the files of folders in the order of their names. Raises as `find_all`."""
    return [
        (name, data if isinstance(data, bytes) else read_file(str(data)))
        for name, data in find_all(paths)
    ]


def refused(path: str, error: RefusedText) -> InvalidInput:
    """The error for a file that is not a text that can be taken."""
    refusal = InvalidInput(f"{'standard input' if path == '-' else path}: {error}")
    refusal.code, refusal.ways = error.finding.code, error.finding.ways
    return refusal


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what the server saw in a text, each with what can be done about it."""
    for finding in findings:
        ways = f" ({'; or '.join(map(as_options, finding.ways))})" if finding.ways else ""
        err.print(f"[yellow]note:[/] {escape(finding.message + ways)}", soft_wrap=True)


def upload(
    client: Client,
    data: Data,
    name: str,
    *,
    encoding: str | None = None,
    visibility: str | None = None,
    on_invalid: str | None = None,
    normalize: str | None = None,
    items: Shape = TEXT,
) -> Corpus:
    """Upload a text or a list, with a progress bar on a terminal."""
    with transfer_progress(f"uploading {name}") as on_progress:
        return client.upload_corpus(
            data,
            name=name,
            encoding=encoding,
            visibility=visibility,
            on_invalid=on_invalid,
            normalize=normalize,
            **items,
            on_progress=on_progress,
        )


def upload_once(
    client: Client,
    files: Sequence[tuple[str, bytes]],
    name: str,
    *,
    encoding: str | None = None,
    items: Shape = TEXT,
) -> tuple[Corpus, bool]:
    """Upload a text unless a corpus of the same name and text exists.

    Returns:
        The corpus, and whether it was uploaded now.
    """
    try:
        text = decode_files(files, Options(encoding))
        if items["items"] is not None:
            shape = cast("ItemsShape", items["items"])
            options = ItemsOptions(shape, items["separator"], items["column"])
            text, _ = cut_into_items(text, options)
    except ValueError:
        sha256 = None  # the server reports what is wrong
    else:
        sha256 = hashlib.sha256(text.data).hexdigest()
    for existing in client.corpora(name=name) if sha256 else ():
        if existing.name == name and existing.sha256 == sha256:
            return existing, False
    return upload(client, as_upload(files), name, encoding=encoding, items=items), True


def as_upload(files: Sequence[tuple[str, bytes | Path]]) -> Data:
    """One file alone, which are sent as they are; several files as they came."""
    return files[0][1] if len(files) == 1 else files


def describe(corpus: Corpus) -> str:
    """Describe a corpus as markup: ``nietzsche: 600,893 characters, 84 distinct``."""
    items = f"{formatting.count(corpus.items.count)} items, " if corpus.items else ""
    return (
        f"[bold]{escape(corpus.name)}[/]: {items}{formatting.count(corpus.characters)} characters, "
        f"{formatting.count(corpus.distinct_characters)} distinct"
    )
