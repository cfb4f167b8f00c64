"""`quire models` and `quire model …`."""

from typing import Annotated

import typer

from quire import config
from quire.lookup import find_model
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    has_duplicates,
    print_json,
    print_note,
    print_outcome,
    print_table,
)

model = typer.Typer(no_args_is_help=True, help="Work with one model.")

SHARED_MODEL = (
    "Everyone on the server may now generate with this model and download its checkpoints. Its "
    "texts can hold passages of its corpus that it learnt by heart, even if the corpus is private."
)

NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The model.")]


def list_models(as_json: Json = False) -> None:
    """List the models you may use."""
    with config.connect() as client:
        models = list(client.models())
    if as_json:
        print_json(models)
        return
    show_ids = has_duplicates(each.name for each in models)
    print_table(
        (*(["ID"] if show_ids else []), "NAME", "PRESET", "OWNER", "VISIBLE TO", "CREATED"),
        [
            (
                *([each.id] if show_ids else []),
                escape(each.name),
                each.preset or "",
                escape(each.owner),
                "everyone" if each.visibility == "server" else "the owner",
                formatting.ago(each.created_at),
            )
            for each in models
        ],
        empty="No models yet. `quire train --corpus FILE` trains one.",
    )


@model.command("rename")
def rename(
    reference: NameOrId,
    new_name: Annotated[str, typer.Argument(help="The new name.")],
    as_json: Json = False,
) -> None:
    """Rename a model."""
    _update(reference, {"name": new_name}, as_json)


@model.command("share")
def share(
    reference: NameOrId,
    private: Annotated[
        bool, typer.Option("--private", help="Stop sharing: only you may use the model.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let everyone on the server use a model."""
    _update(reference, {"visibility": "private" if private else "server"}, as_json)
    if not private:
        print_note(f"[yellow]{SHARED_MODEL}[/]")


@model.command("rm")
def remove(reference: NameOrId) -> None:
    """Delete a model and its checkpoints."""
    with config.connect() as client:
        found = find_model(client, reference)
        client.delete_model(found.id)
    print_note(f"Deleted the model {escape(found.name)}.")


def _update(reference: str, changes: dict[str, str], as_json: bool) -> None:
    with config.connect() as client:
        updated = client.update_model(find_model(client, reference).id, changes)
    print_outcome(updated, as_json, f"{escape(updated.name)} ({updated.visibility}).")
