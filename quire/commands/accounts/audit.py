"""`quire audit`: who did what, when and from where."""

from itertools import islice
from typing import Annotated

import typer

from quire import config
from quire.client.replies.server import AuditEvent
from quire.commands.accounts.moments import before_now
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_json, print_table


def show_audit(
    action: Annotated[
        str | None, typer.Option(help="What was done, such as key.created or sign_in.refused.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The name of who did it, or whom it concerns.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="From where it was done.")] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="The prefix of the key that it was done with."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DURATION|TIME", help="Not earlier: 12h, 30d, or a time."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most events.")] = 50,
    as_json: Json = False,
) -> None:
    """Show who did what, newest first (admins).

    Refused sign-ins are counted: one line for each address and minute.
    """
    with config.connect() as client:
        found = client.audit(
            action=action,
            user=user,
            address=address,
            key_prefix=key,
            since=None if since is None else before_now("--since", since),
        )
        events = list(islice(found, limit))
    if as_json:
        print_json(events)
        return
    print_table(
        ("WHEN", "WHAT", "WHO", "WHOM", "ON", "KEY", "FROM", "DETAILS"),
        [
            (
                formatting.when(each.at),
                each.action if each.count == 1 else f"{each.action} × {each.count}",
                escape(each.actor or ""),
                escape(each.user or ""),
                "" if each.resource is None else escape(f"{each.resource.kind} {each.resource.id}"),
                each.key_prefix or "",
                escape(each.address or ""),
                escape(_details(each)),
            )
            for each in events
        ],
        empty="Nothing.",
    )


def _details(event: AuditEvent) -> str:
    details = event.details or {}
    # The reasons of refused sign-ins, with how often each.
    shown = details.get("reasons", details)
    return ", ".join(
        f"{name}: {_value(value)}" for name, value in shown.items() if value is not None
    )


def _value(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
