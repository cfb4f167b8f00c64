"""`login`, `whoami`, `user …` and `key …`."""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from quire import config
from quire.client import ApiError, Client
from quire.client.server_replies import Me
from quire.commands.parts import require_server
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    err,
    out,
    print_fields,
    print_json,
    print_note,
    print_outcome,
    print_table,
)
from shared.settings import load_settings

users = typer.Typer(no_args_is_help=True, help="The people who may use the server.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")

Role = Annotated[str, typer.Option(help="member, or admin: may manage users.")]
Somebody = Annotated[str, typer.Argument(metavar="NAME|ID", help="The user.")]
OfUser = Annotated[
    str | None, typer.Option("--user", help="Whose keys, by name or id (admins); yours by default.")
]


def login(
    url: Annotated[str, typer.Argument(help="The server's address: http://127.0.0.1:8420")],
    key: Annotated[
        str | None,
        typer.Option(help="The API key. Without it you are asked, or it is read from a pipe."),
    ] = None,
) -> None:
    """Point this computer's `quire` at a server, and keep the key in a private file."""
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"the address is {url!r}: it must begin with http:// or https://")
    if key is None:
        key = (
            typer.prompt("API key", hide_input=True, err=True)
            if sys.stdin.isatty()
            else sys.stdin.readline()
        )
    key = key.strip()
    if not key:
        raise InvalidInput("the key is empty: give it with --key, or through a pipe")
    url = url.rstrip("/")
    with Client(url, key) as client:
        me = client.me()
    path = config.save_login(load_settings(), url, key)
    print_note(f"Logged in to {escape(url)} as [bold]{escape(me.name)}[/] ({escape(me.role)}).")
    print_note(f"[dim]The key is kept in {escape(str(path))}, which only you can read.[/]")


def whoami(as_json: Json = False) -> None:
    """Show which server and which user this computer's `quire` speaks for."""
    with config.connect() as client:
        me = client.me()
        url = client.url
    if as_json:
        print_json({"url": url, **me.as_json()})
    else:
        print_fields([("server", escape(url)), ("user", escape(me.name)), ("role", me.role)])


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="A new name.")],
    role: Role = "member",
    local: Annotated[
        bool,
        typer.Option("--local", help="Work on DATABASE_URL itself, without a running server."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a user and make their first key, which is shown once."""
    if local:
        require_server("user add --local")
        from quire.server.local_accounts import add_user_locally  # needs the extra `server`

        user_id, prefix, key = add_user_locally(load_settings(), name, role)
    else:
        with config.connect() as client:
            user_id = client.create_user(name, role).id
            made = client.create_key(name)
            prefix, key = made.prefix, made.key or ""
    if as_json:
        print_json({"id": user_id, "name": name, "role": role, "prefix": prefix, "key": key})
        return
    print_note(f"Added [bold]{escape(name)}[/] ({escape(role)}). Their key, shown only this once:")
    out.print(key, soft_wrap=True)


@users.command("list")
def list_users(as_json: Json = False) -> None:
    """List the users (admins)."""
    with config.connect() as client:
        found = list(client.users())
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "ROLE", "SINCE", "STATE", "ID"),
        [
            (
                escape(user.name),
                user.role,
                formatting.ago(user.created_at),
                "[dim]disabled[/]" if user.disabled_at else "active",
                user.id,
            )
            for user in found
        ],
        empty="No users.",
    )


@users.command("disable")
def disable(user: Somebody, as_json: Json = False) -> None:
    """Stop a user's keys at once, and let their jobs wait (admins).

    What of theirs runs goes on to its end, or until it has to give way to others.
    """
    with config.connect() as client:
        changed = client.disable_user(user)
    print_outcome(
        changed, as_json, f"{escape(changed.name)} is disabled: no key of theirs works now."
    )


@users.command("enable")
def enable(user: Somebody, as_json: Json = False) -> None:
    """Let a user's keys and jobs go on (admins)."""
    with config.connect() as client:
        changed = client.enable_user(user)
    print_outcome(
        changed, as_json, f"{escape(changed.name)} is enabled: their keys and jobs go on."
    )


@keys.command("add")
def add_key(
    name: Annotated[str | None, typer.Argument(help="What the key is for.")] = None,
    user: OfUser = None,
    as_json: Json = False,
) -> None:
    """Make a key, which is shown once."""
    with config.connect() as client:
        if user is None:
            me = client.me()
            if name is not None:
                _refuse_users_name(client, me, name)
            user = me.name
        made = client.create_key(user, name)
    if as_json:
        print_json(made)
        return
    print_note("The new key, shown only this once:")
    out.print(made.key, soft_wrap=True)


@keys.command("list")
def list_keys(user: OfUser = None, as_json: Json = False) -> None:
    """List keys by their prefix; the keys themselves are kept nowhere."""
    with config.connect() as client:
        found = list(client.keys(user or client.me().name))
    if as_json:
        print_json(found)
        return
    print_table(
        ("PREFIX", "NAME", "MADE", "STATE"),
        [
            (
                key.prefix,
                escape(key.name or ""),
                formatting.ago(key.created_at),
                "[dim]revoked[/]" if key.revoked_at else "valid",
            )
            for key in found
        ],
        empty="No keys.",
    )


def _refuse_users_name(client: Client, me: Me, name: str) -> None:
    """Stop who means somebody else's key, and would hand them one of their own.

    Raises:
        InvalidInput: A key of one's own is to be called as a user is.
    """
    names = (user.name for user in client.users()) if me.role == "admin" else (me.name,)
    if name in names:
        raise InvalidInput(
            f"{name!r} is a user, and without --user the key would be {me.name}'s: "
            f"`quire key add --user {name}` makes one for them; call yours something else"
        )


@keys.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="The key's prefix, as `quire key list` shows it.")],
) -> None:
    """Make a key worthless at once."""
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
