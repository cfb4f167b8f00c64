"""`quire announce`: tell all users something."""

from typing import Annotated

import typer

from quire import config
from quire.commands.accounts.moments import after_now
from quire.errors import InvalidInput
from quire.terminal.console import Json, escape, print_json, print_note


def announce(
    text: Annotated[
        str | None, typer.Argument(help="One or two sentences.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME",
            help="When it goes by itself: 90m, 12h or 3d from now, or a time.",
        ),
    ] = None,
    warning: Annotated[bool, typer.Option("--warning", help="Show it more clearly.")] = False,
    end: Annotated[bool, typer.Option("--end", help="End what is announced.")] = False,
    as_json: Json = False,
) -> None:
    """Tell all users something, on the page and in `quire` (admins only).

    It takes the place of what was announced before.
    """
    if end == (text is not None):
        raise InvalidInput("give a text to announce, or --end to end what is announced")
    with config.connect() as client:
        if text is None:
            client.end_announcement()
            if not as_json:
                print_note("Nothing is announced any more.")
            return
        made = client.announce(
            text,
            level="warning" if warning else "info",
            ends_at=None if until is None else after_now("--until", until),
        )
    if as_json:
        print_json(made)
    else:
        print_note(f"[green]announced[/] {escape(made.text)}")
