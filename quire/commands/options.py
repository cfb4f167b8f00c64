"""When a job may run, and for how long: options that `train` and `generate` share."""

from datetime import datetime
from typing import Annotated, Any

import typer

Priority = Annotated[
    str | None, typer.Option(help="high, normal or low: orders your own jobs only.")
]
After = Annotated[
    str | None,
    typer.Option(metavar="NAME|ID", help="Only once this job of yours has succeeded."),
]
StartBefore = Annotated[
    datetime | None, typer.Option(help="Fail if it has not started by then (local time).")
]
Deadline = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Fail once it has run for so long.")
]


def order_fields(
    priority: str | None, start_before: datetime | None, deadline: float | None
) -> dict[str, Any]:
    """The fields of a request that these options set."""
    fields = {
        "priority": priority,
        "start_before": start_before and start_before.astimezone().isoformat(),
        "deadline_seconds": deadline,
    }
    return {name: value for name, value in fields.items() if value is not None}
