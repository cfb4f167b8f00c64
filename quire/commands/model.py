"""`models`, `model …`, `checkpoints` and `checkpoint …`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from quire import config
from quire.client.transport import ApiError
from quire.commands.lookup import find_model, is_id
from quire.errors import InvalidInput, NotFound
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    has_duplicates,
    out,
    print_json,
    print_note,
    print_outcome,
    print_table,
    transfer_progress,
)

model = typer.Typer(no_args_is_help=True, help="One model.")
checkpoint = typer.Typer(no_args_is_help=True, help="One checkpoint.")

ALIASES = ("best", "latest")
NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The model.")]


def list_models(as_json: Json = False) -> None:
    """List the models you may let write."""
    with config.connect() as client:
        found = list(client.models())
    if as_json:
        print_json(found)
        return
    ids = has_duplicates(item.name for item in found)
    print_table(
        (*(["ID"] if ids else []), "NAME", "PRESET", "OWNER", "USED BY", "MADE"),
        [
            (
                *([item.id] if ids else []),
                escape(item.name),
                item.preset or "",
                escape(item.owner),
                "everybody" if item.visibility == "server" else "the owner",
                formatting.ago(item.created_at),
            )
            for item in found
        ],
        empty="No models yet: `quire train --corpus FILE` makes one.",
    )


@model.command("rename")
def rename(
    reference: NameOrId,
    new_name: Annotated[str, typer.Argument(help="Its new name.")],
    as_json: Json = False,
) -> None:
    """Give a model another name."""
    _change(reference, {"name": new_name}, as_json)


@model.command("share")
def share(
    reference: NameOrId,
    private: Annotated[
        bool, typer.Option("--private", help="Take it back: only you may use it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let everybody on the server generate from a model."""
    _change(reference, {"visibility": "private" if private else "server"}, as_json)


@model.command("rm")
def remove(reference: NameOrId) -> None:
    """Delete a model with its checkpoints."""
    with config.connect() as client:
        found = find_model(client, reference)
        client.delete_model(found.id)
    print_note(f"Deleted the model {escape(found.name)}.")


def list_checkpoints(
    reference: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    as_json: Json = False,
) -> None:
    """List the saved states of a model, the newest first."""
    with config.connect() as client:
        found_model = find_model(client, reference)
        found = list(client.checkpoints(found_model.id))
    if as_json:
        print_json(found)
        return
    aliases = found_model.checkpoints or {}
    print_table(
        ("ID", "STEP>", "EPOCH>", "VAL. LOSS>", "BITS/CHAR>", ""),
        [
            (
                item.id,
                formatting.count(item.step),
                f"{item.epoch:.1f}" if item.epoch is not None else "",
                formatting.loss(item.val_loss),
                formatting.loss(item.bits_per_char),
                ", ".join(alias for alias in ALIASES if aliases.get(alias) == item.id),
            )
            for item in found
        ],
        empty="No checkpoints yet: the first is saved after an epoch.",
    )


@checkpoint.command("download")
def download(
    reference: Annotated[
        str, typer.Argument(metavar="CHECKPOINT|MODEL", help="A checkpoint's id, or a model.")
    ],
    alias: Annotated[str, typer.Option("--which", help="Of a model: best, or latest.")] = "best",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Download the weights of a model as a safetensors file."""
    if alias not in ALIASES:
        raise InvalidInput(f"--which {alias}: {' or '.join(ALIASES)}")
    with config.connect() as client:
        name = checkpoint_id = reference
        if not is_id(reference):
            found = find_model(client, reference)
            name, newest = found.name, (found.checkpoints or {}).get(alias)
            if newest is None:
                raise NotFound(f"{reference} has no checkpoint yet: wait for its first epoch")
            checkpoint_id = newest
        path = output or Path(f"{name.replace('/', '-')}.safetensors")
        if path.exists() and not force:
            raise InvalidInput(f"{path} exists: give another --output, or --force")
        try:
            with transfer_progress(f"downloading {path.name}") as on_progress:
                size_bytes = client.download_checkpoint(checkpoint_id, path, on_progress)
        except OSError as error:
            raise InvalidInput(f"{path} can't be written: {error.strerror}") from None
        except ApiError as error:
            if error.status != 404:
                raise
            raise NotFound(f"no checkpoint has the id {checkpoint_id}") from None
    if as_json:
        print_json({"checkpoint": checkpoint_id, "path": str(path), "bytes": size_bytes})
    else:
        out.print(escape(f"{path}  {formatting.size(size_bytes)}"), soft_wrap=True)


def _change(reference: str, changes: dict[str, str], as_json: bool) -> None:
    with config.connect() as client:
        changed = client.update_model(find_model(client, reference).id, changes)
    print_outcome(changed, as_json, f"{escape(changed.name)} ({changed.visibility}).")
