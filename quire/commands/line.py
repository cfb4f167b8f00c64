"""`queue`, `usage` and `user set`: the line, and what each may use."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from quire import config
from quire.client.server_replies import Cap, Lane, Usage
from quire.commands.accounts import users
from quire.errors import InvalidInput
from quire.terminal import formatting
from quire.terminal.console import Json, print_fields, print_json, print_note, print_table

DEFAULT = "default"


def show_queue(
    kind: Annotated[str | None, typer.Option(help="Only train, or only generate.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many of each kind.")] = 20,
    as_json: Json = False,
) -> None:
    """Show the line: who runs next, and about when. Others' jobs have no names."""
    with config.connect() as client:
        found = client.queue(kind, limit)
    if as_json:
        print_json(found)
        return
    for lane in found.lanes:
        print_note(f"[dim]{_lane(lane)}[/]")
    print_table(
        ("#>", "KIND", "WHO", "JOB", "STARTS ABOUT"),
        [
            (
                f"{turn.position:,}",
                turn.kind,
                escape(turn.user or ("you" if turn.mine else "somebody")),
                escape(turn.name or turn.job or ""),
                formatting.when(turn.starts_at),
            )
            for turn in found.line
        ],
        empty="Nobody waits.",
    )


def show_usage(
    user: Annotated[str | None, typer.Option(help="Whose (admins); yours by default.")] = None,
    as_json: Json = False,
) -> None:
    """Show what you have used, and may use."""
    with config.connect() as client:
        found = client.usage(user)
    if as_json:
        print_json(found)
    else:
        _print(found)


@users.command("set")
def set_caps(
    user: Annotated[str, typer.Argument(help="The user's name.")],
    share: Annotated[float | None, typer.Option(help="2 is twice the device time of 1.")] = None,
    running: Annotated[
        str | None, typer.Option(help="Trainings at once; `default` for the server's.")
    ] = None,
    queued: Annotated[str | None, typer.Option(help="Jobs that wait.")] = None,
    device_seconds: Annotated[str | None, typer.Option(help="Device-seconds in a day.")] = None,
    stored_bytes: Annotated[str | None, typer.Option(help="Corpora and checkpoints.")] = None,
    corpora_bytes: Annotated[str | None, typer.Option(help="Corpora alone.")] = None,
    as_json: Json = False,
) -> None:
    """Set a user's share and caps (admins)."""
    caps = {
        "max_running": running,
        "max_queued": queued,
        "max_device_seconds_per_day": device_seconds,
        "max_stored_bytes": stored_bytes,
        "max_corpora_bytes": corpora_bytes,
    }
    changes: dict[str, Any] = {
        name: _number(name, value) for name, value in caps.items() if value is not None
    }
    if share is not None:
        changes["share"] = share
    if not changes:
        raise InvalidInput("nothing to set: give --share or a cap, such as --running 4")
    with config.connect() as client:
        found = client.set_caps(user, changes)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _number(name: str, value: str) -> int | None:
    if value == DEFAULT:
        return None
    try:
        return int(value)
    except ValueError:
        option = name.removeprefix("max_").removesuffix("_per_day").replace("_", "-")
        raise InvalidInput(f"--{option} {value}: give a whole number, or `{DEFAULT}`") from None


def _lane(lane: Lane) -> str:
    return (
        f"{lane.kind}: {lane.running} running on {lane.workers} workers, {lane.queued:,} queued "
        f"by {lane.users} users"
    )


def _print(found: Usage) -> None:
    print_fields(
        [
            ("user", escape(found.user)),
            ("share", f"{found.share:g}"),
            ("served", f"{found.share_served:.1%} of all that everybody was lately"),
            ("running", _cap(found.running)),
            ("queued", _cap(found.queued)),
            ("device time today", _cap(found.device_seconds_today, seconds=True)),
            ("stored", _cap(found.stored_bytes, sizes=True)),
            ("corpora", _cap(found.corpora_bytes, sizes=True)),
            ("day ends", formatting.when(found.day_ends_at)),
        ]
    )


def _cap(cap: Cap, *, sizes: bool = False, seconds: bool = False) -> str:
    def shown(value: float) -> str:
        if sizes:
            return formatting.size(value)
        return formatting.duration(value) if seconds else formatting.count(value)

    if cap.cap is None:
        return shown(cap.used)
    return f"{shown(cap.used)} of {shown(cap.cap)}" + (" (your own)" if cap.own else "")
