"""Moments on the command line: a time, or a duration from now or until now."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from quire.errors import InvalidInput

DURATION = re.compile(r"(\d{1,5})([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Expires = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION|TIME",
        help="When it ends: 90m, 12h, 30d or 4w from now, or a time such as 2030-01-31T18:00.",
    ),
]


def after_now(option: str, value: str) -> str:
    """Return the moment that a duration from now or a time stands for (RFC 3339).

    Raises:
        InvalidInput: It is neither.
    """
    return _parse(option, value, sign=1)


def before_now(option: str, value: str) -> str:
    """Return the moment that a duration until now or a time stands for (RFC 3339).

    Raises:
        InvalidInput: It is neither.
    """
    return _parse(option, value, sign=-1)


def _parse(option: str, value: str, sign: int) -> str:
    if (match := DURATION.fullmatch(value)) is not None:
        duration = timedelta(**{UNITS[match[2]]: int(match[1])})
        return (datetime.now(UTC) + sign * duration).isoformat()
    try:
        # Without a zone it is a local time.
        return datetime.fromisoformat(value).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{option} {value}: give a duration, such as 90m, 12h, 30d or 4w, or a time, such as "
            "2030-01-31T18:00 or 2030-01-31T17:00:00Z"
        ) from None
