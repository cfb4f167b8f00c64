"""`quire user enrol` and its like: one-time links with which users make their first keys."""

from typing import Annotated

import typer

from quire import config
from quire.client import Client
from quire.commands.accounts.moments import Expires, after_now
from quire.commands.accounts.new_key import NewKeyOutput, Scopes, Show
from quire.errors import QuireError
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_json, print_note, print_table

Name = Annotated[str, typer.Argument(metavar="NAME|ID", help="The user.")]


def enrol(
    reference: Name,
    expires: Expires = None,
    scope: Scopes = None,
    show: Show = False,
    as_json: Json = False,
) -> None:
    """Make a one-time link with which a user makes a key that nobody else has seen.

    They give it to `quire login`. Opening it in a browser or a chat redeems nothing.
    """
    output = NewKeyOutput(show=show or as_json)
    until = None if expires is None else after_now("--expires", expires)
    with config.connect() as client:
        send_link(client, output, reference, until, scope, as_json=as_json)


def send_link(
    client: Client,
    output: NewKeyOutput,
    user: str,
    expires_at: str | None,
    scopes: list[str] | None,
    *,
    as_json: bool,
) -> None:
    """Make a link for a user, and print it as `NewKeyOutput` prints keys."""
    made = client.create_enrolment(user, scopes=scopes, expires_at=expires_at)
    if made.link is None:
        raise QuireError("the server's reply has no link: make another one")
    # The server may not know the address under which people reach it; this client does.
    link = f"{client.url}/enrol#{made.link.partition('#')[2]}"
    if as_json:
        print_json({**made.as_json(), "link": link})
        return
    until = formatting.when(made.expires_at)
    output.print_link(
        link,
        made.id,
        f"Made a link for [bold]{escape(made.user)}[/], to be used once until {until}",
    )


def list_enrolments(reference: Name, as_json: Json = False) -> None:
    """List a user's links, and what became of each. The links themselves are not stored."""
    with config.connect() as client:
        found = list(client.enrolments(reference))
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "STATE", "MADE BY", "CREATED", "EXPIRES", "REDEEMED", "FROM"),
        [
            (
                each.id,
                each.state,
                escape(each.made_by or ""),
                formatting.ago(each.created_at),
                formatting.when(each.expires_at),
                formatting.when(each.redeemed_at),
                escape(each.redeemed_from or ""),
            )
            for each in found
        ],
        empty="No links.",
    )


def revoke_enrolment(
    enrolment: Annotated[
        str,
        typer.Argument(metavar="ID", help="The link's id, as `quire user enrolments` shows it."),
    ],
) -> None:
    """Revoke a link that was not used. A key that it made stays: see `quire key revoke`."""
    with config.connect() as client:
        client.revoke_enrolment(enrolment)
    print_note(f"Revoked {escape(enrolment)}.")
