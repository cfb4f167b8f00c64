"""Claim, run, finish; and what a failure becomes, decided here and nowhere else."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog
from structlog.contextvars import bound_contextvars

from shared.queue import Queue
from shared.queue.errors import LeaseLost
from shared.queue.types import TextRecord
from shared.tables import Kind
from shared.worker_registry import WorkerSelf
from worker.execution.failures import explain, is_known, overdue
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import (
    DATABASE_AWAY,
    CancelRequested,
    DeadlineReached,
    Lease,
    PutDown,
    reason,
)

#: Runs one job and gives the texts that end it.
Handler = Callable[[Lease], Sequence[TextRecord]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    `abandoned` is one whose worker can no longer write: the lease runs out, and the rescue
    decides. A `cancelled` one, and one that failed by its deadline, keep their texts as far as
    they were written.

    Attributes:
        why: Of a `released` one, for its history.
        seconds: Device-seconds that the run used.
    """

    status: Literal["succeeded", "failed", "cancelled", "released", "abandoned"]
    texts: Sequence[TextRecord] = ()
    problem: dict[str, Any] | None = None
    why: str = ""
    seconds: float | None = None


class Runner:
    """Runs the jobs of one lane, one at a time.

    Args:
        queue: Where the jobs are.
        heartbeat: Renews the leases.
        me: The worker, in whose name jobs are claimed.
        handlers: What to run for each kind.
    """

    def __init__(
        self, queue: Queue, heartbeat: Heartbeat, me: WorkerSelf, handlers: Mapping[Kind, Handler]
    ) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._me = me
        self._handlers = handlers

    def run_all(self, wake: str) -> int:
        """Run until no job is left or the worker is to stop.

        Args:
            wake: The Celery task's id: the job whose submission woke this worker. The log tells
                it; nobody obeys it.

        Returns:
            How many jobs were run.
        """
        count = 0
        try:
            while not self._heartbeat.draining and self.run_next(wake):
                count += 1
        except DATABASE_AWAY as error:
            # The jobs are still in line, and a sweep wakes somebody for them.
            log.warning("claim_failed", wake=wake, reason=reason(error))
        return count

    def run_next(self, wake: str) -> bool:
        """Claim a job and run it to its end.

        Returns:
            Whether there was one.
        """
        asked_at = time.monotonic()
        claims = self._queue.claim(self._me.lane, self._me.id, limit=1)
        for claim in claims:
            with (
                bound_contextvars(job=claim.job_id, user=claim.user_id, attempt=claim.attempt),
                self._heartbeat.holding(claim, asked_at) as lease,
            ):
                log.info("run_started", kind=claim.kind, wake=wake)
                lease.say("state", begins=True)
                ending = self._run(lease)
                finish(self._queue, lease, ending)
                seconds = round(time.monotonic() - asked_at, 3)
                log.info("run_ended", kind=claim.kind, status=ending.status, seconds=seconds)
        return bool(claims)

    def _run(self, lease: Lease) -> Ending:
        started_at = time.monotonic()
        ending = self._try(lease)
        return replace(ending, seconds=time.monotonic() - started_at)

    def _try(self, lease: Lease) -> Ending:
        kind = lease.claim.kind
        try:
            return Ending("succeeded", texts=self._handlers[kind](lease))
        except Exception as error:
            return ending_of(error, kind)


def ending_of(error: Exception, kind: Kind) -> Ending:
    """How a run ends that raised an error; called where it was caught."""
    if isinstance(error, CancelRequested):
        return Ending("cancelled")
    if isinstance(error, PutDown):
        return Ending("released", why=error.why)
    if isinstance(error, DeadlineReached):
        return Ending("failed", problem=overdue(kind))
    if isinstance(error, LeaseLost):
        return Ending("abandoned")
    if isinstance(error, DATABASE_AWAY):
        log.warning("database_away", reason=reason(error))
        return Ending("abandoned")
    if not is_known(error):
        log.exception("run_crashed", exc_info=error)
    return Ending("failed", problem=explain(error, kind))


def finish(queue: Queue, lease: Lease, ending: Ending) -> None:
    """Write how a run ended, and wait out a database that is away for as long as it may."""
    claim, texts, seconds = lease.claim, ending.texts, ending.seconds
    writes: dict[str, Callable[[], None]] = {
        "succeeded": lambda: queue.succeed(claim, texts, seconds=seconds),
        "failed": lambda: queue.fail(claim, ending.problem or {}, texts, seconds=seconds),
        "cancelled": lambda: queue.cancel_claimed(claim, texts, seconds=seconds),
        "released": lambda: queue.release(claim, ending.why, seconds=seconds),
        "abandoned": lambda: None,
    }
    try:
        lease.persist(writes[ending.status])
        lease.say("state")
    except LeaseLost:
        log.warning("lease_lost", status=ending.status)
    if ending.problem is not None:
        log.warning("run_failed", slug=ending.problem["type"], detail=ending.problem["detail"])
