# Written by `make client` from quire/client/aio/job.py: change that file.
"""Jobs that can be watched, waited for and steered."""

import time
from collections.abc import Iterator
from typing import Self, TypeVar

from pydantic import PrivateAttr

from quire.client import replies
from quire.client.curves import current_points
from quire.client.handles import take_fields, with_fields_of
from quire.client.job_html import job_html
from quire.client.outcome import (
    JobUpdate,
    Piece,
    WaitTimeout,
    require_success,
    told_of_interruption,
)
from quire.client.progress import progress_bar
from quire.client.sync import runtime
from quire.client.sync.event_stream import stream_events
from quire.client.sync.retry import POLL_SECONDS, retry_while_unreachable
from quire.client.sync.routes import Routes
from quire.errors import EventStreamError, QuireError

#: The first polls are more frequent, so that a short text is there at once.
FIRST_POLL_SECONDS = 0.1
#: How often a notebook draws the curve of a training that is waited for.
CURVE_SECONDS = 3.0
#: A small chart needs no more points.
CURVE_POINTS = 400

J = TypeVar("J", bound="Job")


def job_of(kind: type[J], routes: Routes, reply: replies.Job) -> J:
    """Return a job that can do something."""
    job = with_fields_of(kind, reply)
    job._routes = routes
    return job


class Job(replies.Job):
    """A job. Its fields are what the server said last; `refresh` asks again."""

    _routes: Routes = PrivateAttr()
    _points: list[replies.Metric] = PrivateAttr(default_factory=list)
    _refreshed_at: float = PrivateAttr(default_factory=time.monotonic)

    def refresh(self) -> Self:
        """Ask the server for the job's state."""
        take_fields(self, self._routes.job(self.id))
        self._refreshed_at = time.monotonic()
        return self

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> Self:
        """Wait until the job has ended, whatever its end, also across restarts of the server.

        Ctrl-C stops waiting; the job goes on.

        Args:
            timeout: How many seconds to wait at most.
            progress: Whether to show a bar; by default on a terminal and in a notebook.

        Raises:
            WaitTimeout: The job has not ended in time.
            ServerUnreachable: The server was unreachable for too long.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, drawn_at = FIRST_POLL_SECONDS, 0.0
        with told_of_interruption(self), progress_bar(progress) as bar:
            # Who waits for many jobs in turn does not pause for those that have ended.
            if not self.ended and time.monotonic() - self._refreshed_at >= FIRST_POLL_SECONDS:
                retry_while_unreachable(self.refresh, bar.notify)
            while not self.ended:
                if bar.draws_curves and self.kind == "train" and _is_due(drawn_at):
                    self._fetch_points()
                    drawn_at = time.monotonic()
                bar.show(self, self._points)
                if deadline is not None and time.monotonic() + pause > deadline:
                    raise WaitTimeout(
                        f"job {self.name or self.id} has not ended after {timeout:g} s (it is "
                        f"{self.status}) and goes on: wait for it again, or cancel() it"
                    )
                runtime.sleep(pause)
                pause = min(2 * pause, POLL_SECONDS)
                retry_while_unreachable(self.refresh, bar.notify)
            if bar.draws_curves and self.kind == "train":
                self._fetch_points()
            bar.show(self, self._points)
        return self

    def watch(self) -> Iterator[JobUpdate]:
        """Yield what is new of the job until it has ended: its states, pieces and texts.

        When the connection breaks, it is made again, and nothing is missing or repeated. Ctrl-C
        stops watching; the job goes on.
        """
        with told_of_interruption(self):
            seen: set[str] = set()
            for event in stream_events(self._routes, self):
                if event.type == "state":
                    take_fields(self, replies.Job.model_validate(event.data))
                    if not self.ended:
                        yield JobUpdate(self.status)
                elif event.type == "text":
                    text = replies.Text.model_validate(event.data)
                    if text.id not in seen:
                        seen.add(text.id)
                        yield JobUpdate(self.status, text=text)
                elif event.type == "piece":
                    data = event.data
                    piece = Piece(data["index"], data["offset"], data["text"])
                    yield JobUpdate(self.status, piece=piece)
            # The event has no texts.
            retry_while_unreachable(self.refresh)
            yield JobUpdate(self.status)

    def cancel(self) -> Self:
        """Request the cancellation of the job. A training keeps its checkpoints."""
        take_fields(self, self._routes.cancel_job(self.id))
        return self

    def pause(self) -> Self:
        """Request that the job pauses. A training later resumes exactly where it stopped."""
        take_fields(self, self._routes.pause_job(self.id))
        return self

    def resume(self) -> Self:
        """Return the paused job to the queue."""
        take_fields(self, self._routes.resume_job(self.id))
        return self

    def rerun(self) -> Self:
        """Submit a new job with the same settings and seed, and return it."""
        return job_of(type(self), self._routes, self._routes.rerun_job(self.id))

    def history(self) -> Iterator[replies.Event]:
        """List the events in the job's history."""
        return self._routes.job_history(self.id)

    def _fetch_points(self) -> list[replies.Metric]:
        """Fetch the points of a training's curves that count, thinned for a chart."""
        listed = self._routes.job_metrics(self.id, points=CURVE_POINTS)
        points = [point for point in listed]
        events = [event for event in self.history()]
        self._points = current_points(points, events)
        return self._points

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.status} {self.id}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Show the job in a notebook: its state, and the curve of a training."""
        points = self._points
        # One that was made from its fields has no server.
        if self.kind == "train" and not points and hasattr(self, "_routes"):
            try:
                points = runtime.at_once(self._fetch_points()) or []
            except QuireError:
                points = []
        return job_html(self, points)


class Generation(Job):
    """A job that writes texts."""

    def pieces(self) -> Iterator[str]:
        """Yield the first text piece by piece, while it is written.

        Raises:
            JobFailed: The job failed.
            JobCancelled: The job was cancelled.
            EventStreamError: Another worker wrote it again and differently; `result` has it.
        """
        written = ""
        for update in self.watch():
            if update.piece is not None and update.piece.index == 0:
                new = update.piece.text[max(0, len(written) - update.piece.offset) :]
            elif update.text is not None and update.text.index in (0, None):
                whole = update.text.continuation
                if not whole.startswith(written):
                    raise EventStreamError(
                        f"job {self.name or self.id}: its worker was lost, and another one wrote "
                        "another text. The job's result() is that one"
                    )
                new = whole[len(written) :]
            else:
                continue
            written += new
            if new:
                yield new
        require_success(self)

    def result(
        self, timeout: float | None = None, *, progress: bool | None = None
    ) -> list[replies.Text]:
        """Wait for the texts, by temperature and number. The arguments are those of `wait`.

        Raises:
            JobFailed: The job failed.
            JobCancelled: The job was cancelled.
            WaitTimeout: The job has not ended in time.
        """
        self.wait(timeout, progress=progress)
        require_success(self)
        if self.texts is None:  # it came from a list
            retry_while_unreachable(self.refresh)
        return list(self.texts or ())


class Scoring(Job):
    """A job that reads a text, and says how likely its model finds it."""

    def result(self, timeout: float | None = None, *, progress: bool | None = None) -> replies.Text:
        """Wait for the score: a text with `bits_per_char`. The arguments are those of `wait`.

        Raises:
            JobFailed: The job failed.
            JobCancelled: The job was cancelled.
            WaitTimeout: The job has not ended in time.
        """
        self.wait(timeout, progress=progress)
        require_success(self)
        if self.texts is None:  # it came from a list
            retry_while_unreachable(self.refresh)
        [scored] = self.texts or []
        return scored


def _is_due(drawn_at: float) -> bool:
    return time.monotonic() - drawn_at >= CURVE_SECONDS
