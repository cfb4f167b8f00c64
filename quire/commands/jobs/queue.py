"""`quire queue`: the jobs that wait, in their order."""

from typing import Annotated

import typer

from quire import config
from quire.client.replies.server import Lane
from quire.commands.library.announcement import show_announcement
from quire.terminal import formatting
from quire.terminal.console import Json, escape, print_json, print_note, print_table


def show_queue(
    kind: Annotated[
        str | None, typer.Option(help="Only jobs of this kind: train, generate.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=200, help="The most jobs of each kind to show.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show the queue: which jobs run next, and about when.

    The names of other users' jobs are hidden.
    """
    with config.connect() as client:
        queue = client.queue(kind, limit)
        if not as_json:
            show_announcement(client)
    if as_json:
        print_json(queue)
        return
    for lane in queue.lanes:
        print_note(f"[dim]{_summary(lane)}[/]")
    print_table(
        ("#>", "KIND", "USER", "JOB", "STARTS ABOUT"),
        [
            (
                f"{turn.position:,}",
                turn.kind,
                escape(turn.user or ("you" if turn.mine else "another user")),
                escape(turn.name or turn.job or ""),
                formatting.when(turn.starts_at),
            )
            for turn in queue.line
        ],
        empty="No jobs are queued.",
    )


def _summary(lane: Lane) -> str:
    return (
        f"{lane.kind}: {lane.running} running on {lane.workers} workers, {lane.queued:,} queued "
        f"by {lane.users} users"
    )
