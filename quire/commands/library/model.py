"""`quire models` and `quire model …`."""

import typer

from quire import config
from quire.client import Client
from quire.client.replies import Model
from quire.commands.library.sharing import Shareable, add_shared_commands, visible_to
from quire.lookup import find_model
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
    """What `rename`, `share` and `rm` do with a model."""

    noun = "model"

    def find(self, client: Client, reference: str) -> Model:
        """Find it by name or id."""
        return find_model(client, reference)

    def update(self, client: Client, id: str, changes: dict[str, object]) -> Model:
        """Change its fields."""
        return client.update_model(id, changes)

    def delete(self, client: Client, id: str) -> None:
        """Delete it."""
        client.delete_model(id)

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


add_shared_commands(
    model,
    COMMANDS,
    {
        "rename": "Rename a model.",
        "share": "Let everyone on the server use a model, or everyone in a group.",
        "rm": "Delete a model and its checkpoints.",
    },
)
