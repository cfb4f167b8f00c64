"""`corpus …`: the texts to learn from."""

import hashlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from quire import config
from quire.client import Client
from quire.client.replies import Corpus
from quire.commands.lookup import find_corpus
from quire.errors import InvalidInput
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
from shared.corpus_text import decode

corpora = typer.Typer(no_args_is_help=True, help="Corpora: the texts to learn from.")

NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The corpus.")]
Encoding = Annotated[
    str | None, typer.Option(help="The file's encoding, such as latin-1; UTF-8 by default.")
]
Visibility = Annotated[
    str | None, typer.Option(help="private (default), or server: everybody may read it.")
]


def read_file(path: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``.

    Raises:
        InvalidInput: It can't be read, naming why.
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
    """Upload a text with a bar on the terminal."""
    with transfer_progress(f"uploading {name}") as on_progress:
        return client.upload_corpus(
            data, name=name, encoding=encoding, visibility=visibility, on_progress=on_progress
        )


def upload_once(
    client: Client, data: bytes, name: str, *, encoding: str | None = None
) -> tuple[Corpus, bool]:
    """The corpus of this name and text, uploaded unless it is there; and whether it was."""
    try:
        text = decode(data, encoding or "utf-8").text
    except ValueError:
        sha256 = None  # the server will say what is wrong with it
    else:
        sha256 = hashlib.sha256(text.encode()).hexdigest()
    for corpus in client.corpora(name=name) if sha256 else ():
        if corpus.name == name and corpus.sha256 == sha256:
            return corpus, False
    return upload(client, data, name, encoding=encoding), True


def describe(corpus: Corpus) -> str:
    """``nietzsche: 600,893 characters, 84 of them different``, as markup."""
    return (
        f"[bold]{escape(corpus.name)}[/]: {formatting.count(corpus.characters)} characters, "
        f"{formatting.count(corpus.distinct_characters)} of them different"
    )


@corpora.command("add")
def add(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A text file; - reads standard input.")
    ],
    name: Annotated[str | None, typer.Option(help="Its name; the file's by default.")] = None,
    encoding: Encoding = None,
    visibility: Visibility = None,
    as_json: Json = False,
) -> None:
    """Upload a text."""
    if file == "-" and not name:
        raise InvalidInput("a text from standard input needs a name: give --name")
    data = read_file(file)
    with config.connect() as client:
        corpus = upload(
            client,
            data,
            name or Path(file).stem,
            encoding=encoding,
            visibility=visibility,
        )
    if as_json:
        print_json(corpus)
        return
    out.print(f"Added {describe(corpus)}.", soft_wrap=True)
    print_note(f"[dim]Teach a network with it:[/] quire train --corpus {shell_quoted(corpus.name)}")


@corpora.command("list")
def list_all(as_json: Json = False) -> None:
    """List the corpora you may read."""
    with config.connect() as client:
        found = list(client.corpora())
    if as_json:
        print_json(found)
        return
    ids = has_duplicates(corpus.name for corpus in found)
    print_table(
        (*(["ID"] if ids else []), "NAME", "CHARACTERS>", "DIFFERENT>", "OWNER", "SEEN BY"),
        [
            (
                *([corpus.id] if ids else []),
                escape(corpus.name),
                formatting.count(corpus.characters),
                formatting.count(corpus.distinct_characters),
                escape(corpus.owner),
                "everybody" if corpus.visibility == "server" else "the owner",
            )
            for corpus in found
        ],
        empty="No corpora yet: `quire corpus add FILE` uploads a text.",
    )


@corpora.command("show")
def show(
    corpus: NameOrId,
    text: Annotated[bool, typer.Option("--text", help="Print the text itself.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is known of a corpus, or its text."""
    with config.connect() as client:
        found = find_corpus(client, corpus)
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
            ("different", formatting.count(found.distinct_characters)),
            ("size", formatting.size(found.bytes)),
            ("owner", escape(found.owner)),
            ("visibility", found.visibility),
            ("added", formatting.when(found.created_at)),
        ]
    )


@corpora.command("rename")
def rename(
    corpus: NameOrId,
    new_name: Annotated[str, typer.Argument(help="Its new name.")],
    as_json: Json = False,
) -> None:
    """Give a corpus another name."""
    _change(corpus, {"name": new_name}, as_json)


@corpora.command("share")
def share(
    corpus: NameOrId,
    private: Annotated[
        bool, typer.Option("--private", help="Take it back: only you may read it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let everybody on the server read a corpus."""
    _change(corpus, {"visibility": "private" if private else "server"}, as_json)


@corpora.command("rm")
def remove(corpus: NameOrId) -> None:
    """Delete a corpus that nothing needs any more."""
    with config.connect() as client:
        found = find_corpus(client, corpus)
        client.delete_corpus(found.id)
    print_note(f"Deleted the corpus {escape(found.name)}.")


def _change(corpus: str, changes: dict[str, str], as_json: bool) -> None:
    with config.connect() as client:
        changed = client.update_corpus(find_corpus(client, corpus).id, changes)
    print_outcome(changed, as_json, f"{describe(changed)} ({changed.visibility}).")
