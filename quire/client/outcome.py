"""How a job ended, and what is said while it goes on without its caller."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from quire.client.replies import Job, Metric, Problem, Text
from quire.errors import JobNotSucceeded, QuireError


class JobFailed(JobNotSucceeded):
    """The job failed; `str()` of the error says why.

    Attributes:
        job: The job.
        problem: What it failed with.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.problem = job.error or Problem(title="failed", detail="the reason is unknown")
        super().__init__(f"job {job.name or job.id} failed: {self.problem.line()}")
        self.code, self.ways = self.problem.code, self.problem.ways

    def __reduce__(self) -> tuple[type["JobFailed"], tuple[Job]]:
        return type(self), (self.job,)


class JobCancelled(JobNotSucceeded):
    """The job was cancelled.

    Attributes:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(f"job {job.name or job.id} was cancelled")

    def __reduce__(self) -> tuple[type["JobCancelled"], tuple[Job]]:
        return type(self), (self.job,)


class WaitTimeout(QuireError, TimeoutError):
    """The job did not end in the time that the caller had for it. It goes on."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that is being written.

    Attributes:
        index: The number of the text in its job.
        offset: Where the part begins, in characters of what the model has written.
        text: The part.
    """

    index: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """What is new of a job that is watched: one of a point, a text, a piece, or its state alone.

    Attributes:
        status: The job's status: ``queued``, ``running``, ``succeeded``, …
        metric: A point of a training's loss curves.
        text: A finished text.
        piece: A part of a generation's text.
    """

    status: str
    metric: Metric | None = None
    text: Text | None = None
    piece: Piece | None = None

    @property
    def step(self) -> int | None:
        """The training's step, of a point or of a text."""
        found = self.metric or self.text
        return None if found is None else found.step

    @property
    def epoch(self) -> float | None:
        """The training's epoch, of a point or of a text."""
        found = self.metric or self.text
        return None if found is None else found.epoch

    @property
    def loss(self) -> float | None:
        """The training loss of a point, in nats per token."""
        return None if self.metric is None else self.metric.loss

    @property
    def val_loss(self) -> float | None:
        """The validation loss of a point, in nats per token; None without a validation."""
        return None if self.metric is None else self.metric.val_loss

    @property
    def bits_per_char(self) -> float | None:
        """The validation loss of a point in bits per character."""
        return None if self.metric is None else self.metric.bits_per_char


def require_success(job: Job) -> None:
    """Raise what an ended job ended with, unless it succeeded.

    Raises:
        JobFailed: It failed.
        JobCancelled: It was cancelled.
    """
    if job.status == "cancelled":
        raise JobCancelled(job)
    if job.status != "succeeded":
        raise JobFailed(job)


@contextmanager
def told_of_submission() -> Iterator[None]:
    """Say on Ctrl-C that a job may have been submitted, whose answer was not awaited."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nThe job may go on at the server: q.jobs() lists it.", file=sys.stderr)
        raise


@contextmanager
def told_of_interruption(job: Job) -> Iterator[None]:
    """Say on Ctrl-C that the job goes on, and what returns to it."""
    try:
        yield
    except KeyboardInterrupt:
        print(
            f"\nThe job {job.name or ''} keeps running. q.job({job.id!r}) returns to it, and its "
            "cancel() ends it.",
            file=sys.stderr,
        )
        raise
