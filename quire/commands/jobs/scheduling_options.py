"""Options of `train` and `generate` that say when a job may run, and for how long."""

from datetime import datetime
from typing import Annotated, Any

import typer

Priority = Annotated[
    str | None,
    typer.Option(help="high, normal or low; it orders only your own jobs.", show_default="normal"),
]
After = Annotated[
    str | None,
    typer.Option(metavar="NAME|ID", help="Start only after this job of yours has succeeded."),
]
StartBefore = Annotated[
    datetime | None,
    typer.Option(help="Fail if the job has not started by this local time."),
]
Deadline = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Fail if the job has run for longer than this."),
]


def scheduling_fields(
    priority: str | None, start_before: datetime | None, deadline: float | None
) -> dict[str, Any]:
    """Return the fields of a request that these options set."""
    fields = {
        "priority": priority,
        "start_before": start_before and start_before.astimezone().isoformat(),
        "deadline_seconds": deadline,
    }
    return {name: value for name, value in fields.items() if value is not None}
