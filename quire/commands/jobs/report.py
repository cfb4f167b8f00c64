"""`quire report`: an HTML page that shows how a model learned to write."""

import os
from pathlib import Path
from typing import Annotated

import typer

from quire import config
from quire.errors import InvalidInput
from quire.lookup import find_newest_job
from quire.report.contents import fetch_contents
from quire.report.page import render_page
from quire.terminal import formatting
from quire.terminal.console import escape, print_note, write_text

STANDARD_OUTPUT = "-"


def report(
    reference: Annotated[
        str,
        typer.Argument(metavar="JOB", help="The training, by id, or the newest of a name."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file to write; - is standard output."
        ),
    ] = "report.html",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write an HTML page that shows how a model learned to write.

    It shows the curves of loss, learning rate and speed; the sample texts of
    each epoch, by temperature; then the checkpoints, all settings, the corpus
    and the history of the training.

    The page is one file: it loads nothing and runs no script.
    A training that still runs is shown up to its latest step.

    A training submitted with `--no-sample` has no sample texts.
    """
    path = None if output == STANDARD_OUTPUT else Path(output).expanduser()
    if path is not None:
        check_target(path, force)
    with config.connect() as client:
        contents = fetch_contents(client, find_newest_job(client, reference, "train"))
    html = render_page(contents)
    if path is None:
        write_text(html, end="")
        return
    write_page(path, html, force)
    size = formatting.size(path.stat().st_size)
    print_note(f"Wrote [bold]{escape(str(path))}[/] [dim]({size}): open it in a browser.[/]")


def check_target(path: Path, force: bool) -> None:
    """Check that a file may be written, before anything is fetched.

    Raises:
        InvalidInput: It exists without `force`, or its directory does not.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory: give a file in it, such as {path}/report.html")
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no directory {path.parent}: create it, or write elsewhere")
    if path.exists() and not force:
        raise InvalidInput(f"{path} exists: --force overwrites it, -o chooses another file")


def write_page(path: Path, html: str, force: bool) -> None:
    """Write a file atomically: it appears whole, or not at all.

    Raises:
        InvalidInput: It can't be written, or it has appeared meanwhile.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(html, encoding="utf-8", newline="\n")
        check_target(path, force)
        temporary.replace(path)
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
