"""The option of `train` and `generate` that says who is told of the job's end."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from quire.errors import InvalidInput

Notify = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL|MAIL",
        help="Tell this address when the job has ended; it may be repeated.",
        show_default=False,
    ),
]


def notify_target(target: str) -> dict[str, str]:
    """Return an address as a field of a request.

    Raises:
        InvalidInput: It is neither an address of the web nor one of mail.
    """
    if target.startswith(("http://", "https://")):
        return {"url": target}
    if "@" in target:
        return {"mail": target}
    raise InvalidInput(f"{target}: give an address that begins with https://, or one of mail")


def notify_fields(targets: Sequence[str] | None) -> dict[str, Any]:
    """Return the fields of a request that the option sets."""
    return {"notify": [notify_target(target) for target in targets]} if targets else {}
