"""`quire models` and `quire model …`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Model
from quire.commands.library.sharing import (
    Deleted,
    Shareable,
    add_shared_commands,
    visible_to,
)
from quire.errors import InvalidInput
from quire.lookup import find_deleted_model, find_model
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    has_duplicates,
    out,
    print_json,
    print_table,
    transfer_progress,
)

model = typer.Typer(no_args_is_help=True, help="Work with one model.")


class ModelCommands(Shareable[Model]):
    """What `rename`, `share`, `rm` and `restore` do with a model."""

    noun = "model"

    def find(self, client: Client, reference: str) -> Model:
        """Find it by name or id."""
        return find_model(client, reference)

    def update(self, client: Client, id: str, changes: dict[str, object]) -> Model:
        """Change its fields."""
        return client.update_model(id, changes)

    def find_deleted(self, client: Client, reference: str) -> Model:
        """Find a deleted one by name or id."""
        return find_deleted_model(client, reference)

    def delete(self, client: Client, id: str, *, purge: bool) -> None:
        """Delete it."""
        client.delete_model(id, purge=purge)

    def restore(self, client: Client, id: str) -> Model:
        """Have it back."""
        return client.restore_model(id)

    def deleted(self, client: Client) -> Iterable[Model]:
        """List those that can be restored."""
        return client.models(deleted=True)

    def describe(self, found: Model) -> str:
        """Describe it as markup."""
        return escape(found.name)

    def warning(self, audience: str) -> str:
        """Say what sharing it gives away."""
        return (
            f"{audience} may now generate with this model and download its checkpoints. Its "
            "texts can hold passages of its corpus that it learnt by heart, even if the corpus is "
            "private."
        )


COMMANDS = ModelCommands()


def list_models(deleted: Deleted = False, as_json: Json = False) -> None:
    """List the models you may use."""
    with config.connect() as client:
        models = list(client.models(deleted=deleted))
    if as_json:
        print_json(models)
        return
    last = "RESTORE UNTIL" if deleted else "CREATED"
    show_ids = has_duplicates(each.name for each in models)
    print_table(
        (*(["ID"] if show_ids else []), "NAME", "PRESET", "OWNER", "VISIBLE TO", last),
        [
            (
                *([each.id] if show_ids else []),
                escape(each.name),
                each.preset or "",
                escape(each.owner),
                visible_to(each),
                formatting.when(each.purge_at) if deleted else formatting.ago(each.created_at),
            )
            for each in models
        ],
        empty="No deleted models."
        if deleted
        else "No models yet. `quire train --corpus FILE` trains one.",
    )


add_shared_commands(
    model,
    COMMANDS,
    {
        "rename": "Rename a model.",
        "share": "Let everyone on the server use a model, or everyone in a group.",
        "rm": "Delete a model and its checkpoints; you can restore it for some days.",
        "restore": "Have a deleted model back, and your corpus that it was trained on.",
    },
)


@model.command("export")
def export(
    reference: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    which: Annotated[
        str, typer.Option("--which", help="Which checkpoint: best, latest, or an id.")
    ] = "best",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write.", show_default="MODEL.safetensors"),
    ] = None,
    optimizer: Annotated[
        bool,
        typer.Option(
            "--optimizer/--no-optimizer",
            help="With the optimizer state, which only a training that goes on exactly needs.",
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a model as one file, to run it in NumPy or bring it to another server."""
    with config.connect() as client:
        found = find_model(client, reference)
        path = output or Path(f"{found.name.replace('/', '-')}.safetensors")
        if path.exists() and not force:
            raise InvalidInput(f"{path} exists: choose another --output, or use --force")
        try:
            with transfer_progress(f"exporting {path.name}") as on_progress:
                size_bytes = client.export_model(
                    found.id, path, checkpoint=which, optimizer=optimizer, on_progress=on_progress
                )
        except OSError as error:
            raise InvalidInput(f"{path} can't be written: {error.strerror}") from None
    if as_json:
        print_json({"model": found.id, "path": str(path), "bytes": size_bytes})
    else:
        out.print(escape(f"{path}  {formatting.size(size_bytes)}"), soft_wrap=True)


@model.command("import")
def import_(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file that `quire model export` wrote.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="The model's name.", show_default="the one in the file"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a model to this server that was exported from it or another one."""
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file")
    try:
        with config.connect() as client, transfer_progress(f"importing {path.name}") as on_progress:
            imported = client.import_model(path, name=name, on_progress=on_progress)
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}") from None
    if as_json:
        print_json(imported)
    else:
        out.print(escape(f"{imported.name}  {imported.id}"), soft_wrap=True)
