"""`quire checkpoints` and `quire checkpoint …`: the saved states of a model."""

from pathlib import Path
from typing import Annotated

import typer

from quire import config
from quire.client import ApiError
from quire.errors import InvalidInput, NotFound
from quire.lookup import find_model, is_id
from quire.terminal import formatting
from quire.terminal.console import Json, escape, out, print_json, print_table, transfer_progress

checkpoint = typer.Typer(no_args_is_help=True, help="Work with one checkpoint.")

ALIASES = ("best", "latest")


def list_checkpoints(
    reference: Annotated[str, typer.Argument(metavar="MODEL", help="The model, by name or id.")],
    as_json: Json = False,
) -> None:
    """List the checkpoints of a model, newest first."""
    with config.connect() as client:
        model = find_model(client, reference)
        checkpoints = list(client.checkpoints(model.id))
    if as_json:
        print_json(checkpoints)
        return
    aliases = model.checkpoints or {}
    print_table(
        ("ID", "STEP>", "EPOCH>", "VAL. LOSS>", "BITS/CHAR>", ""),
        [
            (
                each.id,
                formatting.count(each.step),
                f"{each.epoch:.1f}" if each.epoch is not None else "",
                formatting.loss(each.val_loss),
                formatting.loss(each.bits_per_char),
                ", ".join(alias for alias in ALIASES if aliases.get(alias) == each.id),
            )
            for each in checkpoints
        ],
        empty="No checkpoints yet. The first one is saved after the first epoch.",
    )


@checkpoint.command("download")
def download(
    reference: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT|MODEL", help="A checkpoint's id, or a model."),
    ],
    alias: Annotated[
        str, typer.Option("--which", help="Which checkpoint of a model: best, or latest.")
    ] = "best",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write.", show_default="MODEL.safetensors"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Download the weights of a model as a safetensors file."""
    if alias not in ALIASES:
        raise InvalidInput(f"--which {alias}: give {' or '.join(ALIASES)}")
    with config.connect() as client:
        name = checkpoint_id = reference
        if not is_id(reference):
            model = find_model(client, reference)
            name, aliased = model.name, (model.checkpoints or {}).get(alias)
            if aliased is None:
                raise NotFound(
                    f"model {reference!r} has no checkpoint yet: wait for its first epoch"
                )
            checkpoint_id = aliased
        path = output or Path(f"{name.replace('/', '-')}.safetensors")
        if path.exists() and not force:
            raise InvalidInput(f"{path} exists: choose another --output, or use --force")
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
