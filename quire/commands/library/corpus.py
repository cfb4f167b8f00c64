"""`quire corpus …`: the texts that models learn from."""

import hashlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from quire import config
from quire.client import Client
from quire.client.replies import Corpus
from quire.errors import InvalidInput
from quire.lookup import find_corpus
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    has_duplicates,
    out,
    print_fields,
    print_json,
    print_note,
    print_outcome,
    print_table,
    shell_quoted,
    transfer_progress,
)
from shared.texts.decoding import decode

corpus = typer.Typer(no_args_is_help=True, help="Manage corpora: the texts that models learn from.")

NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The corpus.")]
Encoding = Annotated[
    str | None,
    typer.Option(help="The encoding of the file, such as latin-1.", show_default="UTF-8"),
]
Visibility = Annotated[
    str | None,
    typer.Option(
        help="private, or server: everyone on it may use the corpus.", show_default="private"
    ),
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
        raise InvalidInput(f"{path} can't be read: {(error.strerror or '').lower()}") from None


def upload(
    client: Client,
    data: bytes,
    name: str,
    *,
    encoding: str | None = None,
    visibility: str | None = None,
) -> Corpus:
    """Upload a text, with a progress bar on a terminal."""
    with transfer_progress(f"uploading {name}") as on_progress:
        return client.upload_corpus(
            data, name=name, encoding=encoding, visibility=visibility, on_progress=on_progress
        )


def upload_once(
    client: Client, data: bytes, name: str, *, encoding: str | None = None
) -> tuple[Corpus, bool]:
    """Upload a text unless a corpus of the same name and text exists.

    Returns:
        The corpus, and whether it was uploaded now.
    """
    try:
        text = decode(data, encoding or "utf-8").text
    except ValueError:
        sha256 = None  # the server reports what is wrong
    else:
        sha256 = hashlib.sha256(text.encode()).hexdigest()
    for existing in client.corpora(name=name) if sha256 else ():
        if existing.name == name and existing.sha256 == sha256:
            return existing, False
    return upload(client, data, name, encoding=encoding), True


def describe(corpus: Corpus) -> str:
    """Describe a corpus as markup: ``nietzsche: 600,893 characters, 84 distinct``."""
    return (
        f"[bold]{escape(corpus.name)}[/]: {formatting.count(corpus.characters)} characters, "
        f"{formatting.count(corpus.distinct_characters)} distinct"
    )


@corpus.command("add")
def add(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A text file; - is standard input.")],
    name: Annotated[
        str | None, typer.Option(help="The name of the corpus.", show_default="the file name")
    ] = None,
    encoding: Encoding = None,
    visibility: Visibility = None,
    as_json: Json = False,
) -> None:
    """Upload a text file as a corpus."""
    if file == "-" and not name:
        raise InvalidInput("standard input has no file name: give the corpus a --name")
    data = read_file(file)
    with config.connect() as client:
        added = upload(
            client,
            data,
            name or Path(file).stem,
            encoding=encoding,
            visibility=visibility,
        )
    if as_json:
        print_json(added)
        return
    out.print(f"Added {describe(added)}.", soft_wrap=True)
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
    if content is not None:
        if as_json:
            print_json({**found.as_json(), "text": content})
        else:
            sys.stdout.write(content)
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
    """Let everyone on the server use a corpus."""
    _update(reference, {"visibility": "private" if private else "server"}, as_json)


@corpus.command("rm")
def remove(reference: NameOrId) -> None:
    """Delete a corpus. It must not be in use."""
    with config.connect() as client:
        found = find_corpus(client, reference)
        client.delete_corpus(found.id)
    print_note(f"Deleted the corpus {escape(found.name)}.")


def _update(reference: str, changes: dict[str, str], as_json: bool) -> None:
    with config.connect() as client:
        updated = client.update_corpus(find_corpus(client, reference).id, changes)
    print_outcome(updated, as_json, f"{describe(updated)} ({updated.visibility}).")
