"""A claim while it runs: how sure it still is, and what its worker is asked to do."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from sqlalchemy import exc

from shared.database_errors import ailment
from shared.job_events import Kind, Speaker
from shared.queue.errors import LeaseLost
from shared.queue.types import Claim, LeaseDirectives

#: What SQLAlchemy raises while the database cannot be reached or is too busy.
DATABASE_AWAY = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)
Result = TypeVar("Result")


def reason(error: Exception) -> str:
    """What the driver said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).strip()


class CancelRequested(Exception):
    """The job's owner wants it to end."""


class PutDown(Exception):
    """The job is to leave its device unharmed, and to go on later from where it is."""

    why = ""


class DrainRequested(PutDown):
    """The worker is about to stop: the job goes back to the line."""

    why = "drained"


class PauseRequested(PutDown):
    """The job's owner wants it to stand still."""

    why = "paused"


class YieldRequested(PutDown):
    """The job has had its quantum, and somebody less served waits for the device."""

    why = "yielded"


class DeadlineReached(Exception):
    """The job has run for as long as its owner let it."""


class Lease:
    """What a run looks at between two steps. One thread renews it, another runs under it.

    Args:
        claim: The job and the attempt.
        seconds: How long the database keeps the job for this attempt after a renewal.
        asked_at: `time.monotonic` of a moment before the claim.
        draining: Set when the worker is asked to stop.
        show_life: Called whenever the run asks whether it may go on; see `worker.execution.watchdog`.
        speaker: Tells those who follow the job; nobody if not given.
    """

    def __init__(
        self,
        claim: Claim,
        seconds: float,
        asked_at: float,
        draining: threading.Event,
        show_life: Callable[[], None] = lambda: None,
        speaker: Speaker | None = None,
    ) -> None:
        self.claim = claim
        self._seconds = seconds
        self._claimed_at = self._renewed_at = asked_at
        self._draining = draining
        self._cancelled = threading.Event()
        self._paused = threading.Event()
        self._yielding = threading.Event()
        self._overdue = threading.Event()
        self._fenced = threading.Event()
        self._show_life = show_life
        self._speaker = speaker

    @property
    def lost(self) -> bool:
        """Whether another attempt may have the job by now.

        True once the database said so, and also when it has not been heard of for a whole
        lease: then a rescue is free to take the job, and this run's work would be for nothing.
        """
        self._show_life()
        return self._fenced.is_set() or time.monotonic() - self._renewed_at > self._seconds

    @property
    def held_seconds(self) -> float:
        """How long the run has had the job."""
        return time.monotonic() - self._claimed_at

    @property
    def draining(self) -> bool:
        """Whether the worker is asked to stop."""
        return self._draining.is_set()

    @property
    def must_save(self) -> bool:
        """Whether the run is to stop, and what it has done so far is wanted."""
        asked = (self._draining, self._paused, self._yielding, self._overdue)
        return any(event.is_set() for event in asked)

    @property
    def must_stop(self) -> bool:
        """Whether there is any reason to stop; `check` says which."""
        return self._cancelled.is_set() or self.must_save or self.lost

    def check(self) -> None:
        """Return if the run may go on.

        Raises:
            LeaseLost: Write nothing more.
            CancelRequested: As its name says.
            DeadlineReached: As its name says.
            PutDown: One of its kinds; the job goes on another time.
        """
        self.check_lost()
        if self._cancelled.is_set():
            raise CancelRequested
        if self._overdue.is_set():
            raise DeadlineReached
        if self._paused.is_set():
            raise PauseRequested
        if self.draining:
            raise DrainRequested
        if self._yielding.is_set():
            raise YieldRequested

    def check_lost(self) -> None:
        """Return if the lease is still sure.

        Raises:
            LeaseLost: Write nothing more.
        """
        if self.lost:
            raise LeaseLost(self.claim)

    def say(self, kind: Kind, **data: Any) -> None:
        """Tell those who follow the job, unless another attempt may have it by now."""
        if self._speaker is not None and not self.lost:
            self._speaker.say(self.claim.job_id, self.claim.attempt, kind, **data)

    def renewed(self, asked_at: float) -> None:
        """Note a renewal that was asked for at `asked_at`."""
        self._renewed_at = asked_at

    def obey(self, orders: LeaseDirectives) -> None:
        """Note what is asked of the run. What was asked once is not taken back."""
        asked = (
            (orders.cancel, self._cancelled),
            (orders.pause, self._paused),
            (orders.yield_, self._yielding),
            (orders.overdue, self._overdue),
        )
        for wanted, event in asked:
            if wanted:
                event.set()

    def fence(self) -> None:
        """Note that the database gave the job to another attempt, or saw it end."""
        self._fenced.set()

    def persist(
        self,
        write: Callable[[], Result],
        held_up: Callable[[str, float], object] = lambda _why, _seconds: None,
    ) -> Result:
        """Write, and wait out a database that is away for as long as the lease is sure.

        Args:
            write: Writes; tried again until it can.
            held_up: Called after a write that had to wait, with the reason and for how long.

        Raises:
            LeaseLost: The database was away for too long, or the write met the fence.
        """
        began, why = time.monotonic(), ""
        while True:
            try:
                result = write()
            except DATABASE_AWAY as error:
                why = ailment(reason(error))
                log.warning("database_away", why=why, reason=reason(error))
            else:
                if why:
                    held_up(why, time.monotonic() - began)
                return result
            self.check_lost()
            time.sleep(RETRY_SECONDS)
