"""`quire user …`: the users of a server, with their shares and limits."""

from typing import Annotated, Any

import typer

from quire import config
from quire.commands.accounts import enrolment
from quire.commands.accounts.enrolment import send_link
from quire.commands.accounts.limits import parse_limit
from quire.commands.accounts.new_key import NewKeyOutput, Show
from quire.commands.accounts.usage import print_usage
from quire.errors import InvalidInput
from quire.server.parts import require_server
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    print_json,
    print_outcome,
    print_table,
)
from shared.settings import load_settings

user = typer.Typer(no_args_is_help=True, help="Manage the users of the server (admins).")

Role = Annotated[str, typer.Option(help="member, or admin (who may manage users).")]
NameOrId = Annotated[str, typer.Argument(metavar="NAME|ID", help="The user.")]


@user.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name of the new user.")],
    role: Role = "member",
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Write to the database at DATABASE_URL, without a running server."
        ),
    ] = False,
    enrol: Annotated[
        bool,
        typer.Option(
            "--enrol", help="Make a one-time link instead of a key: only the user sees the key."
        ),
    ] = False,
    show: Show = False,
    as_json: Json = False,
) -> None:
    """Add a user and make their first key, or a one-time link with which they make it.

    The key is shown only once, on a terminal, or else kept in a private file.
    """
    output = NewKeyOutput(show=show or as_json)
    if enrol:
        if local:
            raise InvalidInput("--enrol needs a running server: leave out --local")
        with config.connect() as client:
            client.create_user(name, role)
            send_link(client, output, name, None, None, as_json=as_json)
        return
    if local:
        require_server("user add --local")
        from quire.server.local_accounts import add_user_locally  # needs the extra `server`

        user_id, prefix, key = add_user_locally(load_settings(), name, role)
    else:
        with config.connect() as client:
            user_id = client.create_user(name, role).id
            new_key = client.create_key(name)
            prefix, key = new_key.prefix, new_key.key or ""
    if as_json:
        print_json({"id": user_id, "name": name, "role": role, "prefix": prefix, "key": key})
        return
    output.print(key, prefix, f"Added [bold]{escape(name)}[/] ({escape(role)})")


user.command("enrol")(enrolment.enrol)
user.command("enrolments")(enrolment.list_enrolments)
user.command("revoke-enrolment")(enrolment.revoke_enrolment)


@user.command("list")
def list_users(as_json: Json = False) -> None:
    """List the users."""
    with config.connect() as client:
        users = list(client.users())
    if as_json:
        print_json(users)
        return
    print_table(
        ("NAME", "ROLE", "CREATED", "STATE", "ID"),
        [
            (
                escape(each.name),
                each.role,
                formatting.ago(each.created_at),
                "[dim]disabled[/]" if each.disabled_at else "active",
                each.id,
            )
            for each in users
        ],
        empty="No users.",
    )


@user.command("disable")
def disable(reference: NameOrId, as_json: Json = False) -> None:
    """Disable a user: their keys stop working at once, and their queued jobs wait.

    A running job goes on until it ends or has to give its device to others.
    """
    with config.connect() as client:
        disabled = client.disable_user(reference)
    print_outcome(
        disabled, as_json, f"{escape(disabled.name)} is disabled: none of their keys works now."
    )


@user.command("enable")
def enable(reference: NameOrId, as_json: Json = False) -> None:
    """Enable a user again: their keys work, and their jobs may run."""
    with config.connect() as client:
        enabled = client.enable_user(reference)
    print_outcome(
        enabled, as_json, f"{escape(enabled.name)} is enabled: their keys and jobs work again."
    )


@user.command("set")
def set_limits(
    reference: Annotated[str, typer.Argument(metavar="NAME", help="The user.")],
    share: Annotated[
        float | None,
        typer.Option(help="The share of device time; a share of 2 gets twice as much as 1."),
    ] = None,
    running: Annotated[str | None, typer.Option(help="Trainings that may run at once.")] = None,
    queued: Annotated[str | None, typer.Option(help="Jobs that may wait in the queue.")] = None,
    device_seconds: Annotated[
        str | None, typer.Option(help="Seconds of device time in a day.")
    ] = None,
    stored_bytes: Annotated[
        str | None, typer.Option(help="Bytes of corpora and checkpoints together.")
    ] = None,
    corpora_bytes: Annotated[str | None, typer.Option(help="Bytes of corpora.")] = None,
    as_json: Json = False,
) -> None:
    """Set a user's share and limits.

    The limit `default` stands for the server's own setting.
    """
    limits = {
        "max_running": running,
        "max_queued": queued,
        "max_device_seconds_per_day": device_seconds,
        "max_stored_bytes": stored_bytes,
        "max_corpora_bytes": corpora_bytes,
    }
    changes: dict[str, Any] = {
        field: parse_limit(_option(field), value)
        for field, value in limits.items()
        if value is not None
    }
    if share is not None:
        changes["share"] = share
    if not changes:
        raise InvalidInput("nothing to set: give --share or a limit, such as --running 4")
    with config.connect() as client:
        usage = client.set_caps(reference, changes)
    if as_json:
        print_json(usage)
    else:
        print_usage(usage)


def _option(field: str) -> str:
    return "--" + field.removeprefix("max_").removesuffix("_per_day").replace("_", "-")
