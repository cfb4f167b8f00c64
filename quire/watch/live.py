"""`job watch`: a training's curves, texts and events as they come."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Annotated, Protocol

import typer
from rich.live import Live
from rich.markup import escape

from quire import config
from quire.client import Client
from quire.client.replies import Job, Metric, Progress, Text
from quire.errors import ExitCode
from quire.lookup import find_job
from quire.terminal import formatting
from quire.terminal.console import note, out, typed
from quire.terminal.texts import print_texts
from quire.watch.dashboard import Dashboard
from quire.watch.follow import Left, details, follow, require_success, say_left
from quire.watch.history import ROUTINE, told
from quire.watch.watcher import News, Watcher

LOOK_SECONDS = 1.0
FRAMES_PER_SECOND = 4
#: In a log a line for every point would hide the rest.
LINE_SECONDS = 10.0
PREVIEW_CHARACTERS = 100


class View(Protocol):
    """What shows the news of a training."""

    def add(self, news: News) -> None:
        """Show what is new."""

    def say(self, message: str) -> None:
        """Show that the server is away, or is back."""


def watch(
    reference: Annotated[str, typer.Argument(metavar="NAME|ID", help="The job.")],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print each point of the loss curves as a line of JSON."),
    ] = False,
) -> None:
    """Watch a training learn: loss curves, newest texts and events, live.

    On a terminal the curves are drawn as they grow. Elsewhere a line is
    printed for each thing that happens.

    With --json each point of the curves is one line, such as
    {"step": 60, "epoch": 0.5, "loss": 2.1, "val_loss": null, …}
    where val_loss is set once the network was judged on held-out text.
    Steps that are done again, after a resume, come again.

    Ends with the job: 0 if it succeeded, 1 if it failed or was cancelled.
    Ctrl-C leaves the job running, and exits 130.
    A server that is restarted meanwhile is waited for.
    """
    with config.connect() as client:
        job = find_job(client, reference)
        try:
            if job.kind == "train":
                job = _watch(client, job, as_json)
            else:
                job = follow(client, job, watch=not as_json)
        except Left:
            say_left(job, "watch")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read the lines has enough, as `head` does. What is still to be flushed at
            # the interpreter's end would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.OK) from None
        if job.kind == "generate" and job.texts and not as_json:
            print_texts(job.texts)
    require_success(job)
    if job.kind == "train" and not as_json:
        name = typed(job.name or job.id)
        note(f"[dim]Let it write:[/] quire generate {name}")
        note(f"[dim]On one page:[/]  quire report {job.id} -o report.html")


def _watch(client: Client, job: Job, as_json: bool) -> Job:
    """Show a training until it ends.

    Raises:
        Left: Ctrl-C. The job goes on.
    """
    shown: AbstractContextManager[object] = nullcontext()
    view: View
    if as_json:
        view = JsonLines()
    elif out.is_terminal:
        view = picture = Dashboard(job)
        shown = Live(
            picture, console=out, refresh_per_second=FRAMES_PER_SECOND, vertical_overflow="crop"
        )
    else:
        view = Lines(typer.echo)
    watcher = Watcher(client, job, thin=not as_json, say=view.say)
    try:
        with shown:
            while True:
                news = watcher.news()
                view.add(news)
                if news.job.ended:
                    return news.job
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise Left from None


class JsonLines:
    """A line of JSON for each point, for programs."""

    def add(self, news: News) -> None:
        """Print the points."""
        for point in news.points:
            typer.echo(json.dumps(point.as_json()))

    def say(self, message: str) -> None:
        """Tell it to people only."""
        note(escape(message))


class Lines:
    """A line for each thing that happens, where no terminal is.

    Args:
        print_line: Where the lines go.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line
        self._told_at: datetime | None = None

    def add(self, news: News) -> None:
        """Print everything in the order in which it happened."""
        told_events = [event for event in news.events if event.type not in ROUTINE]
        lines = [
            *((event.at, told(event)) for event in told_events),
            *((point.at, _told_point(news.job, point)) for point in self._worth_a_line(news)),
            *((text.created_at or news.job.created_at, _told_text(text)) for text in news.texts),
        ]
        for at, line in sorted(lines, key=lambda each: each[0]):
            self._print(f"{formatting.clock(at)}  {line}")

    def say(self, message: str) -> None:
        """Print it among the rest."""
        self._print(message)

    def _worth_a_line(self, news: News) -> list[Metric]:
        chosen = []
        for point in news.points:
            rested = self._told_at is None or point.at - self._told_at >= timedelta(
                seconds=LINE_SECONDS
            )
            if rested or point.val_loss is not None:
                chosen.append(point)
                self._told_at = point.at
        return chosen


def _told_point(job: Job, point: Metric) -> str:
    progress = job.progress or Progress()
    shown = Progress(
        step=point.step,
        steps_total=progress.steps_total,
        epoch=point.epoch,
        epochs=progress.epochs,
        loss=point.loss,
        val_loss=point.val_loss,
        characters_per_second=point.characters_per_second,
    )
    return details(shown)


def _told_text(text: Text) -> str:
    preview = " ".join(text.text.split())[:PREVIEW_CHARACTERS]
    epoch = f"epoch {text.epoch:g}, " if text.epoch is not None else ""
    return f"wrote ({epoch}temperature {text.temperature:g}): {preview}"
