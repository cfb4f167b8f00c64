"""`quire models` and `quire model …`."""

from collections.abc import Iterable

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
from quire.lookup import find_deleted_model, find_model
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    has_duplicates,
    print_json,
    print_table,
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
        "rm": "Delete a model and its checkpoints; for some days you can have it back.",
        "restore": "Have a deleted model back, and your corpus that it was trained on.",
    },
)
