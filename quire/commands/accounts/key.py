"""`quire key …`: API keys."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from quire import config
from quire.client import ApiError, Client
from quire.client.replies.server import Key, Me
from quire.commands.accounts.moments import Expires, after_now
from quire.commands.accounts.new_key import NewKeyOutput, Scopes, Show
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import Json, err, escape, print_json, print_note, print_table

key = typer.Typer(no_args_is_help=True, help="Manage API keys.")

Owner = Annotated[
    str | None,
    typer.Option(
        "--user", help="The owner of the keys, by name or id (admins).", show_default="you"
    ),
]


@key.command("add")
def add(
    name: Annotated[
        str | None, typer.Argument(help="A name for the key, such as the computer it is for.")
    ] = None,
    user: Owner = None,
    scope: Scopes = None,
    expires: Expires = None,
    show: Show = False,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown only once, on a terminal, or else kept in a private file."""
    output = NewKeyOutput(show=show or as_json)
    expires_at = None if expires is None else after_now("--expires", expires)
    with config.connect() as client:
        if user is None:
            me = client.me()
            if name is not None:
                _refuse_name_of_user(client, me, name)
            user = me.name
        new_key = client.create_key(user, name, scopes=scope, expires_at=expires_at)
    if as_json:
        print_json(new_key)
        return
    output.print(new_key.key or "", new_key.prefix, f"Made a key for [bold]{escape(user)}[/]")


@key.command("list")
def list_keys(user: Owner = None, as_json: Json = False) -> None:
    """List keys by their prefix: what each may do, when it was used, and who made it from where.

    The keys themselves are not stored.
    """
    with config.connect() as client:
        keys = list(client.keys(user or client.me().name))
    if as_json:
        print_json(keys)
        return
    print_table(
        (
            "PREFIX",
            "NAME",
            "SCOPES",
            "CREATED",
            "LAST USED",
            "STATE",
            "BROWSERS",
            "MADE BY",
            "FROM",
        ),
        [
            (
                each.prefix,
                escape(each.name or ""),
                " ".join(each.scopes or []),
                formatting.ago(each.created_at),
                formatting.ago(each.last_used_at) or "never",
                _state(each),
                str(len(each.sessions) or ""),
                escape(each.made_by or ""),
                escape(each.made_from or ""),
            )
            for each in keys
        ],
        empty="No keys.",
    )


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return "[dim]revoked[/]"
    if key.expires_at is None:
        return "valid"
    if key.expires_at <= datetime.now(UTC):
        return "[dim]expired[/]"
    return f"until {formatting.when(key.expires_at)}"


def _refuse_name_of_user(client: Client, me: Me, name: str) -> None:
    """Refuse a key name that is a user's name: the key was probably meant for that user.

    Raises:
        InvalidInput: The name is a user's.
    """
    names = (user.name for user in client.users()) if me.role == "admin" else (me.name,)
    if name in names:
        raise InvalidInput(
            f"{name!r} is a user's name, and without --user the new key would be {me.name}'s. "
            f"Make a key for that user with `quire key add --user {name}`, or choose another "
            "name for yours"
        )


@key.command("revoke")
def revoke(
    prefix: Annotated[str, typer.Argument(help="The key's prefix, as `quire key list` shows it.")],
) -> None:
    """Revoke a key. It stops working at once."""
    parts = prefix.split("_")
    if parts[0] == "quire" and len(parts) > 1:  # a whole key was pasted
        prefix = parts[1]
    with config.connect() as client:
        try:
            client.revoke_key(prefix)
        except ApiError as error:
            if error.status == 404:
                err.print("[dim]`quire key list` shows the prefixes.[/]")
            raise
    print_note(f"Revoked {escape(prefix)}.")


@key.command("sessions")
def list_sessions(user: Owner = None, as_json: Json = False) -> None:
    """List the browsers that are signed in to the page, by the key that each belongs to."""
    with config.connect() as client:
        sessions = [
            (each, session)
            for each in client.keys(user or client.me().name)
            for session in each.sessions
        ]
    if as_json:
        print_json([session for _, session in sessions])
        return
    print_table(
        ("SESSION", "KEY", "SIGNED IN", "BY", "FROM", "UNTIL"),
        [
            (
                session.id,
                f"{each.prefix} {escape(each.name or '')}".strip(),
                formatting.ago(session.created_at),
                session.origin,
                escape(session.made_from or ""),
                f"{session.expires_at:%Y-%m-%d}",
            )
            for each, session in sessions
        ],
        empty="No browser is signed in.",
    )


@key.command("sign-out")
def sign_out(
    session: Annotated[str, typer.Argument(help="The session, as `quire key sessions` shows it.")],
) -> None:
    """Sign out one browser. Revoking a key signs out all of its browsers."""
    with config.connect() as client:
        client.end_session(session)
    print_note(f"Signed out {escape(session)}.")
