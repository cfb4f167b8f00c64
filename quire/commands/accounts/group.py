"""`quire group …`: groups of users, such as a class."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer

from quire import config
from quire.client.replies.server import Group
from quire.commands.accounts.limits import NONE, parse_limit
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import (
    Json,
    escape,
    print_fields,
    print_json,
    print_note,
    print_outcome,
    print_table,
)

group = typer.Typer(
    no_args_is_help=True,
    help="Manage groups of users (admins, and teachers of their own groups).",
)

NameOrId = Annotated[str, typer.Argument(metavar="GROUP", help="The group, by name or id.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The user, by name or id.")]
Role = Annotated[
    str,
    typer.Option(help="member, or teacher (who manages the group's members and their limits)."),
]
EndsAt = Annotated[
    datetime | None,
    typer.Option(
        metavar="WHEN", help="From this local time on, nothing of the group applies any more."
    ),
]
Running = Annotated[str | None, typer.Option(help="Trainings of all members running at once.")]
Queued = Annotated[str | None, typer.Option(help="Jobs of all members in the queue.")]
DeviceSeconds = Annotated[
    str | None, typer.Option(help="Seconds of device time of all members in a day.")
]
StoredBytes = Annotated[
    str | None, typer.Option(help="Bytes of corpora and checkpoints of all members.")
]
MemberRunning = Annotated[
    str | None, typer.Option(help="Trainings of each member running at once.")
]
MemberQueued = Annotated[str | None, typer.Option(help="Jobs of each member in the queue.")]
MemberDeviceSeconds = Annotated[
    str | None, typer.Option(help="Seconds of device time of each member in a day.")
]
MemberStoredBytes = Annotated[
    str | None, typer.Option(help="Bytes of corpora and checkpoints of each member.")
]
MemberCorporaBytes = Annotated[str | None, typer.Option(help="Bytes of corpora of each member.")]


@group.command("list")
def list_groups(as_json: Json = False) -> None:
    """List the groups that you are in; as an admin, all groups."""
    with config.connect() as client:
        groups = list(client.groups())
    if as_json:
        print_json(groups)
        return
    print_table(
        ("NAME", "MEMBERS>", "YOU ARE", "ENDS", "ID"),
        [
            (
                escape(each.name),
                formatting.count(each.members),
                each.role or "",
                _end(each),
                each.id,
            )
            for each in groups
        ],
        empty="You are in no group.",
    )


@group.command("show")
def show(reference: NameOrId, as_json: Json = False) -> None:
    """Show a group and its limits."""
    with config.connect() as client:
        found = client.group(reference)
    if as_json:
        print_json(found)
        return
    _print_group(found)


@group.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name of the new group.")],
    ends_at: EndsAt = None,
    running: Running = None,
    queued: Queued = None,
    device_seconds: DeviceSeconds = None,
    stored_bytes: StoredBytes = None,
    member_running: MemberRunning = None,
    member_queued: MemberQueued = None,
    member_device_seconds: MemberDeviceSeconds = None,
    member_stored_bytes: MemberStoredBytes = None,
    member_corpora_bytes: MemberCorporaBytes = None,
    as_json: Json = False,
) -> None:
    """Make a group (admins).

    The limits bind its members, not its teachers. Without one, the server's own settings hold.
    """
    fields = _limits(
        running=running,
        queued=queued,
        device_seconds=device_seconds,
        stored_bytes=stored_bytes,
        member_running=member_running,
        member_queued=member_queued,
        member_device_seconds=member_device_seconds,
        member_stored_bytes=member_stored_bytes,
        member_corpora_bytes=member_corpora_bytes,
    )
    if ends_at is not None:
        fields["ends_at"] = ends_at.astimezone().isoformat()
    with config.connect() as client:
        made = client.create_group(name, fields)
    print_outcome(made, as_json, f"Made the group {escape(made.name)}.")


@group.command("set")
def set_limits(
    reference: NameOrId,
    ends_at: EndsAt = None,
    never_ends: Annotated[bool, typer.Option("--never-ends", help="Remove the end.")] = False,
    running: Running = None,
    queued: Queued = None,
    device_seconds: DeviceSeconds = None,
    stored_bytes: StoredBytes = None,
    member_running: MemberRunning = None,
    member_queued: MemberQueued = None,
    member_device_seconds: MemberDeviceSeconds = None,
    member_stored_bytes: MemberStoredBytes = None,
    member_corpora_bytes: MemberCorporaBytes = None,
    as_json: Json = False,
) -> None:
    """Set the end and the limits of a group.

    A teacher may set the limits of each member. The limit `none` removes a limit of the group: for
    all members together there is none then, and for each of them the server's own setting holds.
    """
    changes = _limits(
        running=running,
        queued=queued,
        device_seconds=device_seconds,
        stored_bytes=stored_bytes,
        member_running=member_running,
        member_queued=member_queued,
        member_device_seconds=member_device_seconds,
        member_stored_bytes=member_stored_bytes,
        member_corpora_bytes=member_corpora_bytes,
    )
    if ends_at is not None and never_ends:
        raise InvalidInput("--ends-at and --never-ends contradict each other: give one of them")
    if ends_at is not None or never_ends:
        changes["ends_at"] = ends_at and ends_at.astimezone().isoformat()
    if not changes:
        raise InvalidInput("nothing to set: give --ends-at or a limit, such as --member-running 1")
    with config.connect() as client:
        changed = client.update_group(reference, changes)
    if as_json:
        print_json(changed)
        return
    _print_group(changed)


@group.command("rm")
def remove(reference: NameOrId) -> None:
    """Delete a group (admins). Its members stay users, and what they shared with it is private."""
    with config.connect() as client:
        client.delete_group(reference)
    print_note(f"Deleted the group {escape(reference)}.")


@group.command("members")
def list_members(reference: NameOrId, as_json: Json = False) -> None:
    """List the members and teachers of a group, and what they use."""
    with config.connect() as client:
        members = list(client.members(reference))
    if as_json:
        print_json(members)
        return
    print_table(
        ("NAME", "ROLE", "STATE", "RUNNING>", "QUEUED>", "DEVICE TIME TODAY>", "STORED>"),
        [
            (
                escape(each.name),
                each.role,
                "[dim]disabled[/]" if each.disabled_at else "active",
                formatting.count(each.use.running),
                formatting.count(each.use.queued),
                formatting.duration(each.use.device_seconds_today),
                formatting.size(each.use.stored_bytes),
            )
            for each in members
        ],
        empty="The group has no members.",
    )


@group.command("add-user")
def add_user(
    reference: NameOrId,
    user: User,
    role: Role = "member",
    new: Annotated[
        bool, typer.Option("--new", help="Make a new user of this name, without a key.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a user to a group.

    A teacher adds new users (--new), and users that they manage already.
    """
    with config.connect() as client:
        added = client.add_member(reference, user, role, create=new)
    what = "the new user " if new else ""
    print_outcome(
        added, as_json, f"Added {what}{escape(added.name)} to {escape(reference)} ({added.role})."
    )


@group.command("set-role")
def set_role(
    reference: NameOrId,
    user: User,
    role: Annotated[str, typer.Argument(help="member or teacher.")],
    as_json: Json = False,
) -> None:
    """Make a member a teacher of the group, or a teacher a member (admins)."""
    with config.connect() as client:
        changed = client.set_member_role(reference, user, role)
    print_outcome(
        changed, as_json, f"{escape(changed.name)} is a {changed.role} of {escape(reference)} now."
    )


@group.command("remove-user")
def remove_user(reference: NameOrId, user: User) -> None:
    """Remove a user from a group. What they shared with it is private again."""
    with config.connect() as client:
        client.remove_member(reference, user)
    print_note(f"Removed {escape(user)} from {escape(reference)}.")


def _limits(**limits: str | None) -> dict[str, Any]:
    """The fields of a request that the given options set."""
    fields: dict[str, Any] = {}
    for name, value in limits.items():
        if value is None:
            continue
        prefix = "member_max_" if name.startswith("member_") else "max_"
        suffix = "_per_day" if name.endswith("device_seconds") else ""
        field = f"{prefix}{name.removeprefix('member_')}{suffix}"
        fields[field] = parse_limit(f"--{name.replace('_', '-')}", value, NONE)
    return fields


def _print_group(found: Group) -> None:
    def limit(field: str, shown: Callable[[float], str]) -> str:
        of_all, of_each = getattr(found, field), getattr(found, f"member_{field}")
        together = "no limit" if of_all is None else shown(of_all)
        each = "the server's" if of_each is None else shown(of_each)
        return f"{together} together, {each} each"

    print_fields(
        [
            ("name", escape(found.name)),
            ("id", found.id),
            ("members", formatting.count(found.members)),
            ("you are", found.role or "an admin"),
            ("ends", _end(found)),
            ("running", limit("max_running", formatting.count)),
            ("queued", limit("max_queued", formatting.count)),
            ("device time a day", limit("max_device_seconds_per_day", formatting.duration)),
            ("stored", limit("max_stored_bytes", formatting.size)),
        ]
    )


def _end(found: Group) -> str:
    if found.ends_at is None:
        return "never"
    return f"{'ended ' if found.ended else ''}{formatting.when(found.ends_at)}"
