"""Following a job to its end: a live bar on a terminal, quiet lines elsewhere."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from quire.client import Client
from quire.client.replies import Job, Progress
from quire.client.transport import ApiError
from quire.errors import ExitCode, JobNotSucceeded, ServerUnreachable
from quire.terminal import formatting
from quire.terminal.console import STATUS_STYLES, err, note

POLL_SECONDS = 0.5
#: A short text should not wait for a slow poll.
FIRST_POLL_SECONDS = 0.1
#: How long a server may be away (restarting, say) before following gives up.
PATIENCE_SECONDS = 300.0
BAR_COLUMNS = 26
WORDS = {"train": "training", "generate": "writing"}


R = TypeVar("R")


class Left(Exception):
    """The person stopped watching (Ctrl-C); the job goes on."""


def follow(client: Client, job: Job, *, watch: bool = True) -> Job:
    """Wait until a job ends, and show how it goes.

    Args:
        client: The server.
        job: Its present state.
        watch: Whether to show anything; `--json` does not.

    Returns:
        The ended job, whatever its end.

    Raises:
        Left: Ctrl-C. The job goes on.
        ServerUnreachable: The server was away for longer than `PATIENCE_SECONDS`.
    """
    try:
        with _display(watch) as update:
            update(job)
            pause = FIRST_POLL_SECONDS
            while not job.ended:
                time.sleep(pause)
                pause = min(2 * pause, POLL_SECONDS)
                job = patiently(partial(client.job, job.id))
                update(job)
    except KeyboardInterrupt:
        raise Left from None
    return job


def say_left(job: Job, command: str = "wait") -> None:
    """Tell who stopped watching that the job goes on, and how to come back."""
    name = escape(job.name or job.id)
    note(f"\nThe job [bold]{name}[/] goes on without you.")
    note(f"  [dim]come back with[/]  quire job {command} {job.id}")
    note(f"  [dim]stop it with[/]    quire job cancel {job.id}")


def require_success(job: Job) -> None:
    """Raise `JobNotSucceeded`, with the reason, unless the job succeeded."""
    if job.status == "succeeded":
        return
    what = f"job {job.name or job.id}"
    if job.status == "cancelled":
        raise JobNotSucceeded(f"{what} was cancelled")
    reason = job.error.line() if job.error else "no reason is known"
    raise JobNotSucceeded(f"{what} failed: {reason}")


def patiently(ask: Callable[[], R], say: Callable[[str], None] | None = None) -> R:
    """Ask a server that may be away for a while, such as one that is restarted.

    Args:
        ask: Asks it; may be called many times.
        say: Told once that the server is away, and once that it is back.

    Raises:
        ServerUnreachable: It was away for longer than `PATIENCE_SECONDS`.
        ApiError: It refused.
    """
    say = say or (lambda _message: None)
    gone_since: float | None = None
    while True:
        try:
            answer = ask()
        except (ServerUnreachable, ApiError) as error:
            now = time.monotonic()
            if not _may_come_back(error) or now - (gone_since or now) > PATIENCE_SECONDS:
                raise
            if gone_since is None:
                gone_since = now
                say(f"the server is away, trying again: {error}")
            time.sleep(POLL_SECONDS)
        else:
            if gone_since is not None:
                say(
                    f"the server is back after {formatting.duration(time.monotonic() - gone_since)}"
                )
            return answer


def _may_come_back(error: ServerUnreachable | ApiError) -> bool:
    too_many = isinstance(error, ApiError) and error.status == HTTPStatus.TOO_MANY_REQUESTS
    return too_many or error.exit_code is ExitCode.UNREACHABLE


def details(progress: Progress, *, speed: bool = True) -> str:
    """``step 1,200 of 2,670 · epoch 4.5 of 10 · loss 1.532 · …``, as far as it is known."""
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


def share_done(job: Job) -> float | None:
    """The share of a job's steps that are done, or None."""
    progress = job.progress
    if progress is None or progress.step is None or not progress.steps_total:
        return None
    return min(1.0, progress.step / progress.steps_total)


def headline(job: Job, spinner: Spinner) -> RenderableType:
    """One line: what a job does, its bar, speed and the time left, as far as they are known."""
    share, progress = share_done(job), job.progress
    if job.ended:
        return Text.assemble((job.status, STATUS_STYLES[job.status]), f"  {job.name or job.id}")
    if job.status != "running" or share is None or progress is None:
        word = job.status if job.status != "running" else WORDS.get(job.kind, job.kind)
        spinner.update(text=Text.assemble((word, "cyan"), f"  {job.name or job.id}"))
        return spinner
    line = Table.grid(padding=(0, 2))
    cells: list[RenderableType] = [
        Text("stopping" if job.cancel_requested else WORDS.get(job.kind, job.kind), "cyan"),
        ProgressBar(total=1.0, completed=share, width=BAR_COLUMNS),
        f"{share:4.0%}",
    ]
    if progress.characters_per_second:
        cells.append(f"{formatting.count(progress.characters_per_second)} characters/s")
    if progress.seconds_left is not None:
        cells.append(f"{formatting.duration(progress.seconds_left)} left")
    line.add_row(*cells)
    return line


def _display(watch: bool) -> AbstractContextManager[Callable[[Job], None]]:
    if not watch:
        return nullcontext(lambda _job: None)
    return _Bar() if err.is_terminal else _Lines()


class _Bar:
    """The live picture of a job on a terminal; it vanishes at the end."""

    def __init__(self) -> None:
        self._live = Live(console=err, transient=True, refresh_per_second=8)
        self._spinner = Spinner("dots", style="cyan")

    def __enter__(self) -> Callable[[Job], None]:
        self._live.start()
        return self._update

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def _update(self, job: Job) -> None:
        self._live.update(self._picture(job))

    def _picture(self, job: Job) -> RenderableType:
        line = headline(job, self._spinner)
        if job.progress is None or job.status != "running":
            return line
        return Group(line, Text(details(job.progress, speed=False), "dim"))


class _Lines:
    """A line for every change of status and every epoch, where no terminal is."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None

    def __enter__(self) -> Callable[[Job], None]:
        return self._update

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def _update(self, job: Job) -> None:
        epoch = int(job.progress.epoch or 0) if job.progress else 0
        if self._said == (job.status, epoch):
            return
        self._said = (job.status, epoch)
        text = details(job.progress) if job.progress else ""
        note(escape(f"{job.name or job.id}: {job.status}{'  ' if text else ''}{text}"))
