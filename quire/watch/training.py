"""Watch a training until it ends: on a dashboard, in lines of text, or in lines of JSON."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Protocol

from rich.live import Live

from quire.client import Client
from quire.client.replies import Job, Metric, Progress, Text
from quire.client.sync.poller import TrainingPoller, TrainingUpdate
from quire.terminal import formatting
from quire.terminal.console import escape, out, print_json_line, print_note, write_text
from quire.watch.dashboard import Dashboard
from quire.watch.history import ROUTINE, describe_event
from quire.watch.wait import Detached, progress_text

POLL_SECONDS = 1.0
FRAMES_PER_SECOND = 4
#: A log with a line per point would hide everything else.
MIN_SECONDS_BETWEEN_LINES = 10.0
PREVIEW_CHARACTERS = 100


class View(Protocol):
    """Shows the updates of a training."""

    def add(self, update: TrainingUpdate) -> None:
        """Show an update."""

    def notify(self, message: str) -> None:
        """Show that the server is unreachable, or is back."""


def watch_training(client: Client, job: Job, as_json: bool) -> Job:
    """Show a training until it ends, and return the ended job.

    Raises:
        Detached: Ctrl-C was pressed. The job keeps running.
        ServerUnreachable: The server was unreachable for too long.
        ApiError: The server refused a request.
    """
    screen: AbstractContextManager[object] = nullcontext()
    view: View
    if as_json:
        view = JsonLines()
    elif out.is_terminal:
        view = dashboard = Dashboard(job)
        screen = Live(
            dashboard, console=out, refresh_per_second=FRAMES_PER_SECOND, vertical_overflow="crop"
        )
    else:
        view = TextLines(write_text)
    poller = TrainingPoller(client, job, thin=not as_json, notify=view.notify)
    try:
        with screen:
            while True:
                update = poller.poll()
                view.add(update)
                if update.job.ended:
                    return update.job
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise Detached from None


class JsonLines:
    """Prints each point as one line of JSON."""

    def add(self, update: TrainingUpdate) -> None:
        """Print the points."""
        for point in update.points:
            print_json_line(point.as_json())

    def notify(self, message: str) -> None:
        """Print a message to stderr."""
        print_note(escape(message))


class TextLines:
    """Prints one line per event, point and text.

    Args:
        print_line: Prints a line.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._point_printed_at: datetime | None = None

    def add(self, update: TrainingUpdate) -> None:
        """Print everything in chronological order."""
        events = [event for event in update.events if event.type not in ROUTINE]
        points = self._select_points(update)
        lines = [
            *((event.at, describe_event(event)) for event in events),
            *((point.at, _describe_point(update.job, point)) for point in points),
            *((text.created_at or update.job.created_at, _preview(text)) for text in update.texts),
        ]
        for at, line in sorted(lines, key=lambda item: item[0]):
            self._print(f"{formatting.clock(at)}  {line}")

    def notify(self, message: str) -> None:
        """Print a message among the other lines."""
        self._print(message)

    def _select_points(self, update: TrainingUpdate) -> list[Metric]:
        interval = timedelta(seconds=MIN_SECONDS_BETWEEN_LINES)
        selected = []
        for point in update.points:
            last = self._point_printed_at
            if last is None or point.at - last >= interval or point.val_loss is not None:
                selected.append(point)
                self._point_printed_at = point.at
        return selected


def _describe_point(job: Job, point: Metric) -> str:
    progress = job.progress or Progress()
    return progress_text(
        Progress(
            step=point.step,
            steps_total=progress.steps_total,
            epoch=point.epoch,
            epochs=progress.epochs,
            loss=point.loss,
            val_loss=point.val_loss,
            characters_per_second=point.characters_per_second,
        )
    )


def _preview(text: Text) -> str:
    preview = " ".join(text.text.split())[:PREVIEW_CHARACTERS]
    epoch = f"epoch {text.epoch:g}, " if text.epoch is not None else ""
    return f"generated ({epoch}temperature {text.temperature:g}): {preview}"
