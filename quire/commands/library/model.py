"""`quire models` and `quire model …`."""

from typing import Annotated

import typer

from quire import config
from quire.commands.library.sharing import Group, shared_model, sharing, visible_to
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
                visible_to(each),
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
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Let everyone on the server use a model, or everyone in a group."""
    _update(reference, sharing(group, private=private), as_json)
    if not private:
        print_note(shared_model(group))


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
    print_outcome(updated, as_json, f"{escape(updated.name)} (visible to {visible_to(updated)}).")
