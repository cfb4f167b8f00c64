"""A bar while a job or a transfer is waited for: in a notebook, or on a terminal.

A notebook shows HTML, which needs nothing but IPython. A terminal has the bar of rich or tqdm,
whichever is installed, and none without them.
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol

from quire.client.job_html import activity, job_html, progress_line, share_done, waiting_line
from quire.client.replies import Job, Metric
from quire.client.requests.uploads import ProgressCallback

BAR_COLUMNS = 26


class Bar(Protocol):
    """Shows how far something is.

    Attributes:
        draws_curves: Whether it shows a training's points, which have to be fetched.
    """

    draws_curves: bool

    def show(self, job: Job, points: Sequence[Metric]) -> None:
        """Show a job."""

    def transfer(self, name: str, done: int, total: int | None) -> None:
        """Show how many bytes are transferred."""

    def notify(self, message: str) -> None:
        """Say that the server is unreachable, or is back."""

    def close(self) -> None:
        """End it."""


class NoBar:
    """Shows nothing."""

    draws_curves = False

    def show(self, job: Job, points: Sequence[Metric]) -> None:
        """Show nothing."""

    def transfer(self, name: str, done: int, total: int | None) -> None:
        """Show nothing."""

    def notify(self, message: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """End nothing."""


class VisibleBar(NoBar):
    """Says beside the bar what happens meanwhile."""

    def notify(self, message: str) -> None:
        """Print a message to stderr."""
        print(message, file=sys.stderr)


class NotebookBar(VisibleBar):
    """Replaces one output of the cell, also with the curve as it grows."""

    draws_curves = True

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display")
        self._handle: Any = None

    def show(self, job: Job, points: Sequence[Metric]) -> None:
        """Show a job as HTML."""
        self._update(job_html(job, points))

    def transfer(self, name: str, done: int, total: int | None) -> None:
        """Show a bar as HTML."""
        value = "" if not total else f' max="{total}" value="{done}"'
        self._update(f"<div>{escape(name)} <progress{value}></progress> {_megabytes(done)}</div>")

    def _update(self, html: str) -> None:
        shown = self._display.HTML(html)
        if self._handle is None:
            self._handle = self._display.display(shown, display_id=True)
        else:
            self._handle.update(shown)


class LineBar(VisibleBar):
    """A bar of one line: what is done, the share of it, and numbers."""

    def show(self, job: Job, points: Sequence[Metric]) -> None:
        """Show a job in one line."""
        share = share_done(job) if job.status == "running" else None
        self._update(f"{activity(job)} {_printable(job.name or job.id)}", share, _numbers(job))

    def transfer(self, name: str, done: int, total: int | None) -> None:
        """Show a transfer in one line."""
        self._update(_printable(name), done / total if total else None, _megabytes(done))

    def _update(self, description: str, share: float | None, numbers: str) -> None:
        raise NotImplementedError


class RichBar(LineBar):
    """A live bar of rich's, which disappears at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        text = TextColumn("{task.description}", markup=False)
        numbers = TextColumn("{task.fields[numbers]}", markup=False, style="dim")
        self._progress = Progress(
            text,
            BarColumn(bar_width=BAR_COLUMNS),
            numbers,
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, numbers="")
        self._progress.start()

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    def _update(self, description: str, share: float | None, numbers: str) -> None:
        self._progress.update(
            self._task,
            description=description,
            numbers=numbers,
            total=None if share is None else 1.0,
            completed=share or 0.0,
        )


class TqdmBar(LineBar):
    """A bar of tqdm's."""

    FORMAT = "{desc} {percentage:3.0f}%|{bar}| {postfix}"

    def __init__(self) -> None:
        tqdm: Any = importlib.import_module("tqdm")
        self._bar: Any = tqdm.tqdm(
            total=1.0, bar_format=self.FORMAT, leave=False, file=sys.stderr, ncols=100
        )

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _update(self, description: str, share: float | None, numbers: str) -> None:
        self._bar.set_description_str(description, refresh=False)
        self._bar.set_postfix_str(numbers, refresh=False)
        self._bar.n = share or 0.0
        self._bar.refresh()


def choose_bar(wanted: bool | None) -> Bar:
    """Return the bar of this place.

    Args:
        wanted: True for one in any case, False for none; None for one where somebody looks.
    """
    if wanted is False:
        return NoBar()
    if in_notebook():
        return NotebookBar()
    if wanted is None and not sys.stderr.isatty():
        return NoBar()
    for bar in (RichBar, TqdmBar):
        try:
            return bar()
        except ImportError:
            continue
    return NoBar()


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, which shows HTML; IPython on a terminal is none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


@contextmanager
def progress_bar(wanted: bool | None) -> Iterator[Bar]:
    """Show a bar until the block ends."""
    bar = choose_bar(wanted)
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def transfer_bar(name: str, wanted: bool | None) -> Iterator[ProgressCallback]:
    """Show a bar of transferred bytes until the block ends."""
    with progress_bar(wanted) as bar:
        yield lambda done, total: bar.transfer(name, done, total)


def _numbers(job: Job) -> str:
    return progress_line(job.progress) if job.status == "running" else waiting_line(job)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _printable(name: str) -> str:
    """A name without what a terminal would take for an instruction."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name)
