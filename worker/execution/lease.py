"""A claim while its job runs: whether it still holds, and what is asked of the run."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from shared.database_errors import describe_failure
from shared.event_publisher import EventPublisher
from shared.job_events import EntryKind
from shared.queue.errors import LeaseLost
from shared.queue.types import Claim, LeaseDirectives
from worker.execution.outages import DATABASE_AWAY, RETRY_SECONDS, driver_message

log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class CancelRequested(Exception):
    """The job's owner has cancelled it."""


class DeadlineReached(Exception):
    """The job has run for its `deadline_seconds`."""


class Interrupted(Exception):
    """The run must stop now; the job goes on later from where it is."""

    reason = ""


class DrainRequested(Interrupted):
    """The worker is about to stop; the job returns to the queue."""

    reason = "drained"


class PauseRequested(Interrupted):
    """The job's owner has paused it."""

    reason = "paused"


class YieldRequested(Interrupted):
    """The job has used its quantum, and a user who was served less is waiting."""

    reason = "yielded"


class Lease:
    """What a run checks between two steps. One thread renews it, another runs under it.

    Args:
        claim: The job and the attempt.
        seconds: How long the database reserves the job for this attempt after a renewal.
        asked_at: `time.monotonic` of a moment before the claim.
        draining: Set when the worker is asked to stop.
        feed_watchdog: Called on every check; see `worker.execution.watchdog`.
        publisher: Publishes the job's events; None publishes none.
    """

    def __init__(
        self,
        claim: Claim,
        seconds: float,
        asked_at: float,
        draining: threading.Event,
        feed_watchdog: Callable[[], None] = lambda: None,
        publisher: EventPublisher | None = None,
    ) -> None:
        self.claim = claim
        self._seconds = seconds
        self.asked_at = self._renewed_at = asked_at
        #: When the claim was there, by `time.monotonic`.
        self.began_at = time.monotonic()
        self._draining = draining
        # Nobody waits for these, and an event costs a condition and a lock.
        self._cancelled = self._paused = self._yielding = self._overdue = self._fenced = False
        self._feed_watchdog = feed_watchdog
        self._publisher = publisher

    @property
    def lost(self) -> bool:
        """Whether another attempt may have the job by now.

        True once the database said so, and also after a whole lease without a renewal: a rescue
        may then take the job, and this run's work would be wasted.
        """
        self._feed_watchdog()
        return self._fenced or time.monotonic() - self._renewed_at > self._seconds

    @property
    def held_seconds(self) -> float:
        """How long the run has held the job."""
        return time.monotonic() - self.asked_at

    @property
    def draining(self) -> bool:
        """Whether the worker is asked to stop."""
        return self._draining.is_set()

    @property
    def must_save(self) -> bool:
        """Whether the run must stop and save its work first."""
        return self.draining or self._paused or self._yielding or self._overdue

    @property
    def must_stop(self) -> bool:
        """Whether the run must stop for any reason; `check` raises which."""
        return self._cancelled or self.must_save or self.lost

    @property
    def must_abandon(self) -> bool:
        """Whether nobody wants what the run is making: it stops, and does not go on later."""
        return self._cancelled or self._overdue or self.lost

    def check(self) -> None:
        """Return if the run may go on.

        Raises:
            LeaseLost: Another attempt may have the job: write nothing more.
            CancelRequested: The owner has cancelled the job.
            DeadlineReached: The job has run for its `deadline_seconds`.
            Interrupted: The job goes on another time; the subclass says why.
        """
        self.check_lost()
        if self._cancelled:
            raise CancelRequested
        if self._overdue:
            raise DeadlineReached
        if self._paused:
            raise PauseRequested
        if self.draining:
            raise DrainRequested
        if self._yielding:
            raise YieldRequested

    def check_lost(self) -> None:
        """Return if the lease still holds.

        Raises:
            LeaseLost: Another attempt may have the job: write nothing more.
        """
        if self.lost:
            raise LeaseLost(self.claim)

    def publish(self, kind: EntryKind, **data: Any) -> None:
        """Publish an event to the job's followers, unless another attempt may have the job."""
        if self._publisher is not None and not self.lost:
            self._publisher.publish(self.claim.job_id, self.claim.attempt, kind, **data)

    def publish_state(self, *, begins: bool = False) -> None:
        """Publish that the job's row has changed; call it after the commit.

        A generation is over so soon that this is published to listeners only: whoever waits for
        its end hears of it on a channel of its own (shared/job_ends.py).

        Args:
            begins: Whether the run has just begun.
        """
        if self._publisher is None or self.lost:
            return
        generation = self.claim.kind == "generate"
        publish = self._publisher.publish_to_listeners if generation else self._publisher.publish
        data = {"begins": True} if begins else {}
        publish(self.claim.job_id, self.claim.attempt, "state", **data)

    def mark_renewed(self, asked_at: float) -> None:
        """Note a renewal that was asked for at `asked_at`."""
        self._renewed_at = asked_at

    def apply(self, directives: LeaseDirectives) -> None:
        """Note what is asked of the run. A request is never taken back."""
        self._cancelled |= directives.cancel
        self._paused |= directives.pause
        self._yielding |= directives.yield_
        self._overdue |= directives.overdue

    def fence(self) -> None:
        """Note that the database gave the job to another attempt, or that the job has ended."""
        self._fenced = True

    def persist(
        self,
        write: Callable[[], Result],
        on_delayed: Callable[[str, float], object] = lambda _reason, _seconds: None,
    ) -> Result:
        """Write, retrying while the database is away and the lease holds.

        Args:
            write: The function that writes.
            on_delayed: Called after a write that had to be retried, with the reason and the delay.

        Raises:
            LeaseLost: The database was away for too long, or another attempt has the job.
        """
        began, reason = time.monotonic(), ""
        while True:
            try:
                result = write()
            except DATABASE_AWAY as error:
                reason = describe_failure(driver_message(error))
                log.warning("database_away", why=reason, reason=driver_message(error))
            else:
                if reason:
                    on_delayed(reason, time.monotonic() - began)
                return result
            self.check_lost()
            time.sleep(RETRY_SECONDS)
