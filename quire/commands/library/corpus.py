"""`quire corpus …`: the texts that models learn from."""

from collections.abc import Iterable
from typing import Annotated

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Corpus
from quire.client.requests.sources import corpus_name
from quire.commands.library.items_options import Column, Items, Separator, shape
from quire.commands.library.sharing import (
    Deleted,
    Shareable,
    add_shared_commands,
    visible_to,
)
from quire.commands.library.uploads import (
    Encoding,
    Normalize,
    OnInvalid,
    as_upload,
    describe,
    find_all,
    print_findings,
    upload,
)
from quire.errors import InvalidInput
from quire.lookup import find_corpus, find_deleted_corpus
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    has_duplicates,
    out,
    print_fields,
    print_json,
    print_note,
    print_outcome,
    print_table,
    shell_quoted,
    write_text,
)
from shared.texts.items import without_marks

corpus = typer.Typer(no_args_is_help=True, help="Manage corpora: the texts that models learn from.")

NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The corpus.")]
Visibility = Annotated[
    str | None,
    typer.Option(
        help="private, or server: everyone on it may use the corpus.", show_default="private"
    ),
]


class CorpusCommands(Shareable[Corpus]):
    """What `rename`, `share`, `rm` and `restore` do with a corpus."""

    noun = "corpus"

    def find(self, client: Client, reference: str) -> Corpus:
        """Find it by name or id."""
        return find_corpus(client, reference)

    def update(self, client: Client, id: str, changes: dict[str, object]) -> Corpus:
        """Change its fields."""
        return client.update_corpus(id, changes)

    def find_deleted(self, client: Client, reference: str) -> Corpus:
        """Find a deleted one by name or id."""
        return find_deleted_corpus(client, reference)

    def delete(self, client: Client, id: str, *, purge: bool) -> None:
        """Delete it."""
        client.delete_corpus(id, purge=purge)

    def restore(self, client: Client, id: str) -> Corpus:
        """Have it back."""
        return client.restore_corpus(id)

    def deleted(self, client: Client) -> Iterable[Corpus]:
        """List those that can be restored."""
        return client.corpora(deleted=True)

    def describe(self, found: Corpus) -> str:
        """Describe it as markup."""
        return describe(found)

    def warning(self, audience: str) -> str:
        """Say what sharing it gives away."""
        return f"{audience} may now read the whole corpus."


COMMANDS = CorpusCommands()


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
    data = as_upload(find_all(files))
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
        COMMANDS.print_warning()
    if as_json:
        print_json(added)
        return
    out.print(f"Added {describe(added)}.", soft_wrap=True)
    print_findings(added.findings)
    print_note(f"[dim]Train a model on it:[/] quire train --corpus {shell_quoted(added.name)}")


@corpus.command("list")
def list_all(deleted: Deleted = False, as_json: Json = False) -> None:
    """List the corpora you may read."""
    with config.connect() as client:
        corpora = list(client.corpora(deleted=deleted))
    if as_json:
        print_json(corpora)
        return
    show_ids = has_duplicates(each.name for each in corpora)
    print_table(
        (
            *(["ID"] if show_ids else []),
            *("NAME", "CHARACTERS>", "DISTINCT>", "OWNER", "VISIBLE TO"),
            *(["RESTORE UNTIL"] if deleted else []),
        ),
        [
            (
                *([each.id] if show_ids else []),
                escape(each.name),
                formatting.count(each.characters),
                formatting.count(each.distinct_characters),
                escape(each.owner),
                visible_to(each),
                *([formatting.when(each.purge_at)] if deleted else []),
            )
            for each in corpora
        ],
        empty="No deleted corpora."
        if deleted
        else "No corpora yet. `quire corpus add FILE` uploads one.",
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
            content = without_marks(content)
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
            ("visible to", visible_to(found)),
            ("excerpts", "shown by shared models" if found.allow_excerpts else ""),
            ("added", formatting.when(found.created_at)),
        ]
    )


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
    COMMANDS.change(reference, {"allow_excerpts": not forbid}, as_json)
    if not forbid:
        print_note("[yellow]Models that you share may now show pieces of this corpus.[/]")


add_shared_commands(
    corpus,
    COMMANDS,
    {
        "rename": "Rename a corpus.",
        "share": "Let everyone on the server, or in a group, read a corpus and train on it.",
        "rm": "Delete a corpus, which must not be in use; you can restore it for some days.",
        "restore": "Have a deleted corpus back.",
    },
)
