"""`quire drain`: take a machine, or one device, out of work in order."""

from typing import Annotated

import typer

from quire import config
from quire.terminal.console import Json, escape, print_note, print_outcome


def drain(
    place: Annotated[
        str,
        typer.Argument(metavar="HOST[/DEVICE]", help="As `quire devices` shows it."),
    ],
    as_json: Json = False,
) -> None:
    """Let the workers of a host, or of one device, return their jobs and take no more.

    Admins only.

    Trainings write a checkpoint first and go on elsewhere, or here once the worker is started
    again, which ends the drain. `quire devices` shows when they are free.
    """
    host, _, device = place.partition("/")
    with config.connect() as client:
        drained = client.drain(host, device or None)
    workers = ", ".join(drained.workers)
    print_outcome(drained, as_json, f"[yellow]stopping[/] {escape(workers)}")
    if not as_json:
        print_note("[dim]They take no jobs until they are started again.[/]")
