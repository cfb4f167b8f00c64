"""Wait for a job: a live progress bar on a terminal, and lines of text elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from quire.client import Client
from quire.client.job_html import share_done
from quire.client.replies import Job, Progress
from quire.client.sync.retry import POLL_SECONDS, retry_while_unreachable
from quire.terminal import formatting
from quire.terminal.console import STATUS_STYLES, err, escape, print_note

#: The first polls are more frequent, so that a short text is shown at once.
FIRST_POLL_SECONDS = 0.1
BAR_COLUMNS = 26
ACTIVITIES = {"train": "training", "generate": "generating"}

Show = Callable[[Job], None]


class Detached(Exception):
    """The user stopped watching with Ctrl-C. The job keeps running."""


def wait_for_job(client: Client, job: Job, *, watch: bool = True) -> Job:
    """Wait until a job has ended, and show its progress.

    Args:
        client: The server.
        job: The current state of the job.
        watch: Whether to show the progress; `--json` does not.

    Returns:
        The ended job, whatever its status.

    Raises:
        Detached: Ctrl-C was pressed. The job keeps running.
        ServerUnreachable: The server was unreachable for too long.
        ApiError: The server refused a request.
    """
    try:
        with _display(watch) as show:
            show(job)
            pause = FIRST_POLL_SECONDS
            while not job.ended:
                time.sleep(pause)
                pause = min(2 * pause, POLL_SECONDS)
                job = retry_while_unreachable(partial(client.job, job.id))
                show(job)
    except KeyboardInterrupt:
        raise Detached from None
    # One that came from a list has no texts.
    return client.job(job.id) if job.kind == "generate" and job.texts is None else job


def print_detached(job: Job, command: str = "wait") -> None:
    """Say that the job keeps running, and which commands return to it or cancel it."""
    name = escape(job.name or job.id)
    print_note(f"\nThe job [bold]{name}[/] keeps running.")
    print_note(f"  [dim]return to it:[/]  quire job {command} {job.id}")
    print_note(f"  [dim]cancel it:[/]     quire job cancel {job.id}")


def progress_text(progress: Progress, *, speed: bool = True) -> str:
    """Return ``step 1,200 of 2,670 · epoch 4.5 of 10 · loss 1.532 · …``, without unknown parts."""
    parts = []
    if progress.step is not None and progress.steps_total:
        parts.append(f"step {progress.step:,} of {progress.steps_total:,}")
    if progress.epoch is not None and progress.epochs:
        parts.append(f"epoch {progress.epoch:.1f} of {round(progress.epochs, 1):g}")
    if progress.loss is not None:
        parts.append(f"loss {formatting.loss(progress.loss)}")
    if progress.val_loss is not None:
        parts.append(f"validation loss {formatting.loss(progress.val_loss)}")
    if progress.bits_per_char is not None:
        parts.append(f"{progress.bits_per_char:.2f} bits/char")
    if speed and progress.characters_per_second:
        parts.append(f"{formatting.count(progress.characters_per_second)} characters/s")
    return " · ".join(parts)


def short_budget_text(job: Job) -> str:
    """Say that compiling took most of a time budget, or a part of a short one; else nothing."""
    seconds = (job.spec.get("budget") or {}).get("seconds")
    progress = job.progress
    if seconds is None or progress is None or progress.epoch is None:
        return ""
    computed = _seconds_of_steps(job.spec, progress)
    if progress.epoch >= 1 and (computed is None or computed > seconds / 2):
        return ""
    steps = f"{progress.step or 0:,} step{'' if progress.step == 1 else 's'}"
    part = "most of them" if computed is not None and computed <= seconds / 2 else "its part"
    return (
        f"{seconds:g} seconds were enough for {steps}, {progress.epoch:.2g} "
        f"epochs: compiling the network took {part}. Give more --seconds, or --epochs"
    )


def _seconds_of_steps(spec: Mapping[str, Any], progress: Progress) -> float | None:
    """How long the steps took at the speed that was told last; None where that is unknown."""
    speed = progress.characters_per_second
    if not speed or spec.get("tokenizer") != "char" or spec.get("preset") == "classic":
        return None
    batch, window = spec.get("batch_size"), spec.get("window")
    if batch is None or window is None or progress.step is None:
        return None
    return float(progress.step * batch * window / speed)


def status_line(job: Job, spinner: Spinner) -> RenderableType:
    """Return one line with the activity of a job, its progress bar, speed and time left."""
    share, progress = share_done(job), job.progress
    if job.ended:
        return Text.assemble((job.status, STATUS_STYLES[job.status]), f"  {job.name or job.id}")
    if job.status != "running" or share is None or progress is None:
        word = job.status if job.status != "running" else ACTIVITIES.get(job.kind, job.kind)
        spinner.update(text=Text.assemble((word, "cyan"), f"  {job.name or job.id}"))
        return spinner
    line = Table.grid(padding=(0, 2))
    activity = "stopping" if job.cancel_requested else ACTIVITIES.get(job.kind, job.kind)
    cells: list[RenderableType] = [
        Text(activity, "cyan"),
        ProgressBar(total=1.0, completed=share, width=BAR_COLUMNS),
        f"{share:4.0%}",
    ]
    if progress.characters_per_second:
        cells.append(f"{formatting.count(progress.characters_per_second)} characters/s")
    if progress.seconds_left is not None:
        cells.append(f"{formatting.duration(progress.seconds_left)} left")
    line.add_row(*cells)
    return line


def _display(watch: bool) -> AbstractContextManager[Show]:
    if not watch:
        return nullcontext(lambda _job: None)
    return _progress_bar() if err.is_terminal else nullcontext(_Lines().show)


@contextmanager
def _progress_bar() -> Iterator[Show]:
    """Show a live progress bar, which disappears at the end."""
    spinner = Spinner("dots", style="cyan")
    with Live(console=err, transient=True, refresh_per_second=8) as live:

        def show(job: Job) -> None:
            line = status_line(job, spinner)
            if job.progress is None or job.status != "running":
                live.update(line)
            else:
                live.update(Group(line, Text(progress_text(job.progress, speed=False), "dim")))

        yield show


class _Lines:
    """Prints a line at every change of status and every epoch."""

    def __init__(self) -> None:
        self._printed: tuple[str, int] | None = None

    def show(self, job: Job) -> None:
        epoch = int(job.progress.epoch or 0) if job.progress else 0
        if self._printed == (job.status, epoch):
            return
        self._printed = (job.status, epoch)
        text = progress_text(job.progress) if job.progress else ""
        print_note(escape(f"{job.name or job.id}: {job.status}{'  ' if text else ''}{text}"))
