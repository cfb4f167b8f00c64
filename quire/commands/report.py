"""`report`: one page of how a model learned to write."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from quire import config
from quire.commands.lookup import find_job
from quire.errors import InvalidInput
from quire.report.contents import find_out
from quire.report.page import page
from quire.terminal import formatting
from quire.terminal.console import print_note

STANDARD_OUTPUT = "-"


def report(
    reference: Annotated[str, typer.Argument(metavar="JOB", help="The training, by name or id.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is the output."),
    ] = "report.html",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file.")] = False,
) -> None:
    """Write one HTML page of how a model learned to write.

    Loss curves, learning rate and speed; the texts written after each epoch,
    to be read down the epochs for one temperature; then the checkpoints,
    every number of the training, the corpus and the history.

    The page is complete in itself: it loads nothing, and runs no script.
    A training that still runs is shown as far as it is.

    A training that was started with `--no-sample` has written no texts.
    """
    path = None if output == STANDARD_OUTPUT else Path(output).expanduser()
    if path is not None:
        check_target(path, force)
    with config.connect() as client:
        contents = find_out(client, find_job(client, reference, "train"))
    written = page(contents)
    if path is None:
        typer.echo(written, nl=False)
        return
    write_page(path, written, force)
    size = formatting.size(path.stat().st_size)
    print_note(f"Wrote [bold]{escape(str(path))}[/] [dim]({size}): open it in a browser.[/]")


def check_target(path: Path, force: bool) -> None:
    """Find out before anything is fetched that a file can't be written.

    Raises:
        InvalidInput: It is there already, or can't be there.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory: name a file in it, such as {path}/report.html")
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no directory {path.parent}: make it, or write elsewhere")
    if path.exists() and not force:
        raise InvalidInput(f"{path} is there already: --force overwrites it, -o names another")


def write_page(path: Path, written: str, force: bool) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        InvalidInput: It can't be written, or has appeared meanwhile.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(written, encoding="utf-8", newline="\n")
        check_target(path, force)
        part.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
