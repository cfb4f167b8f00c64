"""`quire usage`: what a user has used, and their limits."""

from typing import Annotated

import typer

from quire import config
from quire.client.replies.server import Cap, Usage
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_fields, print_json


def show_usage(
    user: Annotated[
        str | None, typer.Option(help="The user, by name or id (admins).", show_default="you")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what you have used and what your limits are."""
    with config.connect() as client:
        usage = client.usage(user)
    if as_json:
        print_json(usage)
    else:
        print_usage(usage)


def print_usage(usage: Usage) -> None:
    """Print a user's share, usage and limits."""
    print_fields(
        [
            ("user", escape(usage.user)),
            ("share", f"{usage.share:g}"),
            ("served", f"{usage.share_served:.1%} of all recent device time"),
            ("running", _cap(usage.running)),
            ("queued", _cap(usage.queued)),
            ("device time today", _cap(usage.device_seconds_today, seconds=True)),
            ("stored", _cap(usage.stored_bytes, sizes=True)),
            ("bytes of corpora", _cap(usage.corpora_bytes, sizes=True)),
            *(
                (name, _cap(cap))
                for name in ("corpora", "models", "keys")
                # A server of an older version does not send them.
                if (cap := getattr(usage, name)) is not None
            ),
            ("day ends", formatting.when(usage.day_ends_at)),
        ]
    )


def _cap(cap: Cap, *, sizes: bool = False, seconds: bool = False) -> str:
    def formatted(value: float) -> str:
        if sizes:
            return formatting.size(value)
        return formatting.duration(value) if seconds else formatting.count(value)

    if cap.cap is None:
        return formatted(cap.used)
    limit = f"{formatted(cap.used)} of {formatted(cap.cap)}"
    return f"{limit} (set for this user)" if cap.own else limit
