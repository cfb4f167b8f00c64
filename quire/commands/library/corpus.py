"""`quire corpus …`: the texts that models learn from."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Corpus, Finding
from quire.commands.library.items_options import TEXT, Column, Items, Separator, Shape, shape
from quire.errors import InvalidInput
from quire.lookup import find_corpus
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    err,
    escape,
    has_duplicates,
    out,
    print_fields,
    print_json,
    print_note,
    print_outcome,
    print_table,
    shell_quoted,
    transfer_progress,
    write_text,
)
from shared.texts.decoding import Options, decode_files
from shared.texts.items import ITEM_BEGIN, ITEM_END, ItemsOptions, ItemsShape, cut_into_items

MOST_FILES = 1000

corpus = typer.Typer(no_args_is_help=True, help="Manage corpora: the texts that models learn from.")

NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The corpus.")]
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
Visibility = Annotated[
    str | None,
    typer.Option(
        help="private, or server: everyone on it may use the corpus.", show_default="private"
    ),
]


SHARED_CORPUS = "[yellow]Everyone on the server may now read the whole corpus.[/]"


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
        raise InvalidInput(f"{path} can't be read: {(error.strerror or '').lower()}") from None


def read_files(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Read files, and the files of folders in the order of their names.

    Raises:
        InvalidInput: A file can't be read, or a folder has no files.
    """
    files: list[tuple[str, bytes]] = []
    for path in paths:
        folder = Path(path).expanduser()
        if path == "-" or not folder.is_dir():
            files.append((printable(Path(path).name), read_file(path)))
            continue
        found = sorted(
            each for each in folder.rglob("*") if each.is_file() and not each.name.startswith(".")
        )
        if not found:
            raise InvalidInput(f"{path} is a folder without files: name one with texts")
        if len(found) > MOST_FILES:
            raise InvalidInput(
                f"{path} has {len(found):,} files; at most {MOST_FILES:,} make one corpus"
            )
        files += [
            (printable(str(each.relative_to(folder))), read_file(str(each))) for each in found
        ]
    return files


def printable(name: str) -> str:
    """A file's name without bytes that are no UTF-8."""
    return name.encode(errors="replace").decode()


def corpus_name(path: str) -> str:
    """The name that a corpus gets from a file or folder."""
    return printable(Path(path).stem or Path(path).resolve().name)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what the server saw in a text, each with what can be done about it."""
    for finding in findings:
        ways = f" ({'; or '.join(finding.ways)})" if finding.ways else ""
        err.print(f"[yellow]note:[/] {escape(finding.message + ways)}", soft_wrap=True)


def upload(
    client: Client,
    data: bytes | Sequence[tuple[str, bytes]],
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


def as_upload(files: Sequence[tuple[str, bytes]]) -> bytes | Sequence[tuple[str, bytes]]:
    """One file's bytes alone, which are sent as they are; several files as they came."""
    return files[0][1] if len(files) == 1 else files


def describe(corpus: Corpus) -> str:
    """Describe a corpus as markup: ``nietzsche: 600,893 characters, 84 distinct``."""
    items = f"{formatting.count(corpus.items.count)} items, " if corpus.items else ""
    return (
        f"[bold]{escape(corpus.name)}[/]: {items}{formatting.count(corpus.characters)} characters, "
        f"{formatting.count(corpus.distinct_characters)} distinct"
    )


@corpus.command("add")
def add(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Text files or folders of them, put together to one corpus; - is standard input.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="The name of the corpus.", show_default="the file name")
    ] = None,
    encoding: Encoding = None,
    visibility: Visibility = None,
    on_invalid: OnInvalid = None,
    normalize: Normalize = None,
    items: Items = None,
    separator: Separator = None,
    column: Column = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the text would be, and keep nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload text files as one corpus."""
    if "-" in files and not name:
        raise InvalidInput("standard input has no file name: give the corpus a --name")
    data = as_upload(read_files(files))
    name = name or corpus_name(files[0])
    cut = shape(items, separator, column)
    with config.connect() as client:
        if dry_run:
            found = client.dry_run_upload(
                data,
                name=name,
                encoding=encoding,
                on_invalid=on_invalid,
                normalize=normalize,
                **cut,
            )
            print_findings([] if as_json else found.findings)
            line = f"{formatting.count(found.characters)} characters, {found.encoding}"
            print_outcome(found, as_json, f"{escape(name)}: {line}. Nothing was kept.")
            return
        added = upload(
            client,
            data,
            name,
            encoding=encoding,
            visibility=visibility,
            on_invalid=on_invalid,
            normalize=normalize,
            items=cut,
        )
    if visibility == "server":
        print_note(SHARED_CORPUS)
    if as_json:
        print_json(added)
        return
    out.print(f"Added {describe(added)}.", soft_wrap=True)
    print_findings(added.findings)
    print_note(f"[dim]Train a model on it:[/] quire train --corpus {shell_quoted(added.name)}")


@corpus.command("list")
def list_all(as_json: Json = False) -> None:
    """List the corpora you may read."""
    with config.connect() as client:
        corpora = list(client.corpora())
    if as_json:
        print_json(corpora)
        return
    show_ids = has_duplicates(each.name for each in corpora)
    print_table(
        (*(["ID"] if show_ids else []), "NAME", "CHARACTERS>", "DISTINCT>", "OWNER", "VISIBLE TO"),
        [
            (
                *([each.id] if show_ids else []),
                escape(each.name),
                formatting.count(each.characters),
                formatting.count(each.distinct_characters),
                escape(each.owner),
                "everyone" if each.visibility == "server" else "the owner",
            )
            for each in corpora
        ],
        empty="No corpora yet. `quire corpus add FILE` uploads one.",
    )


@corpus.command("show")
def show(
    reference: NameOrId,
    text: Annotated[bool, typer.Option("--text", help="Print the text itself.")] = False,
    as_json: Json = False,
) -> None:
    """Show the details of a corpus, or its text."""
    with config.connect() as client:
        found = find_corpus(client, reference)
        content = client.corpus_text(found.id) if text else None
        if content is not None and found.items is not None:
            content = content.replace(ITEM_BEGIN, "").replace(ITEM_END, "\n")
    if content is not None:
        if as_json:
            print_json({**found.as_json(), "text": content})
        else:
            write_text(content, end="")
        return
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("name", escape(found.name)),
            ("id", found.id),
            ("characters", formatting.count(found.characters)),
            ("distinct", formatting.count(found.distinct_characters)),
            ("size", formatting.size(found.bytes)),
            ("owner", escape(found.owner)),
            ("visibility", found.visibility),
            ("excerpts", "shown by shared models" if found.allow_excerpts else ""),
            ("added", formatting.when(found.created_at)),
        ]
    )


@corpus.command("rename")
def rename(
    reference: NameOrId,
    new_name: Annotated[str, typer.Argument(help="The new name.")],
    as_json: Json = False,
) -> None:
    """Rename a corpus."""
    _update(reference, {"name": new_name}, as_json)


@corpus.command("share")
def share(
    reference: NameOrId,
    private: Annotated[
        bool, typer.Option("--private", help="Stop sharing: only you may use the corpus.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let everyone on the server use a corpus: read it as a whole, and train on it."""
    _update(reference, {"visibility": "private" if private else "server"}, as_json)
    if not private:
        print_note(SHARED_CORPUS)


@corpus.command("excerpts")
def excerpts(
    reference: NameOrId,
    forbid: Annotated[
        bool, typer.Option("--forbid", help="Show others no pieces of the corpus, the default.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let models that you share show others pieces of a private corpus.

    Their texts may then start from random pieces of it, and tell where they copy it. A few
    hundred texts can show the whole corpus.
    """
    _update(reference, {"allow_excerpts": not forbid}, as_json)
    if not forbid:
        print_note("[yellow]Models that you share may now show pieces of this corpus.[/]")


@corpus.command("rm")
def remove(reference: NameOrId) -> None:
    """Delete a corpus. It must not be in use."""
    with config.connect() as client:
        found = find_corpus(client, reference)
        client.delete_corpus(found.id)
    print_note(f"Deleted the corpus {escape(found.name)}.")


def _update(reference: str, changes: dict[str, Any], as_json: bool) -> None:
    with config.connect() as client:
        updated = client.update_corpus(find_corpus(client, reference).id, changes)
    print_outcome(updated, as_json, f"{describe(updated)} ({updated.visibility}).")
