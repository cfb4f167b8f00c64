"""Persists how runs ended: one run alone, or all that succeeded at once in one transaction."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from shared.queue import FinishedJob, Queue
from shared.queue.errors import LeaseLost
from shared.queue.types import Claim, JobEnd
from worker.execution.device_errors import arena_stays_large
from worker.execution.device_guard import DeviceGuard
from worker.execution.lease import Lease
from worker.execution.outages import DATABASE_AWAY, RETRY_SECONDS, driver_message
from worker.execution.outcome import RunOutcome, outcome_of
from worker.execution.run_spans import RunSpans

log = structlog.get_logger(__name__)

Finished = tuple[Lease, RunOutcome]


def log_fields(claim: Claim) -> dict[str, object]:
    """What a log line says of a job."""
    return {"job": claim.job_id, "user": claim.user_id, "attempt": claim.attempt}


class RunFinisher:
    """Persists how runs ended, and tells those who wait for them.

    Args:
        queue: The queue.
        publish_ends: Publishes ends once they are committed.
        guard: Hears of runs that the device ended; None for nobody.
        spans: Records the runs; None records none.
    """

    def __init__(
        self,
        queue: Queue,
        publish_ends: Callable[[Iterable[JobEnd]], object] = lambda ends: None,
        guard: DeviceGuard | None = None,
        spans: RunSpans | None = None,
    ) -> None:
        self._queue = queue
        self._publish_ends = publish_ends
        self._guard = guard
        self._spans = spans

    def finish(self, lease: Lease, outcome: RunOutcome) -> None:
        """Persist how a run ended, retrying while the database is away and the lease holds."""
        ended_at, lost = time.monotonic(), False
        if self._guard is not None:
            # First, so that this worker claims nothing once the job is in the queue again.
            if outcome.device_fault is not None:
                self._guard.report(outcome.device_fault)
            if outcome.out_of_memory and arena_stays_large():
                self._guard.report_memory()
        try:
            lease.persist(partial(self._write, lease.claim, outcome))
            lease.publish_state()
        except LeaseLost:
            log.warning("lease_lost", status=outcome.status)
            self._note_lost(1)
            lost = True
        else:
            if outcome.status in ("succeeded", "failed", "cancelled"):
                # The texts of a success by itself are rare, and whoever waits reads the rows.
                self._publish_ends([JobEnd(lease.claim.job_id, lease.claim.attempt)])
        if self._spans is not None:
            self._spans.ended(lease, outcome, ended_at, lost=lost)
        if outcome.problem is not None:
            log.warning(
                "run_failed", slug=outcome.problem["type"], detail=outcome.problem["detail"]
            )

    def _write(self, claim: Claim, outcome: RunOutcome) -> None:
        texts, seconds = outcome.texts, outcome.seconds
        match outcome.status:
            case "succeeded":
                self._queue.succeed(claim, texts, seconds=seconds)
            case "failed":
                self._queue.fail(claim, outcome.problem or {}, texts, seconds=seconds)
            case "cancelled":
                self._queue.cancel_claimed(claim, texts, seconds=seconds)
            case "released" if outcome.device_fault is not None:
                self._queue.release_from_fault(claim, outcome.device_fault, seconds=seconds)
            case "released":
                self._queue.release(claim, outcome.reason, seconds=seconds)
            case "abandoned":
                pass

    def finish_or_fail(self, lease: Lease, outcome: RunOutcome) -> None:
        """Persist how a run ended; if that raises, fail this job and spare those beside it."""
        try:
            self.finish(lease, outcome)
        except Exception as error:
            self._fail(lease, error, outcome.seconds)

    def finish_together(self, finished: Sequence[Finished]) -> None:
        """Persist succeeded runs in one transaction; a run that cannot be persisted fails alone."""
        ended_at = time.monotonic()
        while finished := [(lease, outcome) for lease, outcome in finished if _holds(lease)]:
            jobs: list[FinishedJob] = [(lease.claim, outcome.texts) for lease, outcome in finished]
            used = {lease.claim.job_id: outcome.seconds or 0.0 for lease, outcome in finished}
            written = {
                lease.claim.job_id: outcome.generated
                for lease, outcome in finished
                if outcome.generated is not None
            }
            try:
                completion = self._queue.finish(jobs, seconds=used, generated=written)
            except DATABASE_AWAY as error:
                log.warning("database_away", reason=driver_message(error))
                time.sleep(RETRY_SECONDS)
            except Exception as error:
                if len(finished) == 1:
                    [(lease, outcome)] = finished
                    self._fail(lease, error, outcome.seconds)
                    return
                for run in finished:
                    self.finish_together([run])
                return
            else:
                self._publish_ends(completion.ends)
                self._note_lost(len(completion.lost))
                ended = {(end.job_id, end.attempt) for end in completion.ends}
                for lease, outcome in finished:
                    lost = (lease.claim.job_id, lease.claim.attempt) not in ended
                    if lost:
                        _log_lost(lease)
                    else:
                        lease.publish_state()
                    if self._spans is not None:
                        self._spans.ended(lease, outcome, ended_at, lost=lost)
                return

    def _note_lost(self, count: int) -> None:
        # Only a figure is missing if the database is away.
        with suppress(*DATABASE_AWAY):
            if count:
                self._queue.note_leases_lost(count)

    def _fail(self, lease: Lease, error: Exception, seconds: float | None) -> None:
        """Fail a job whose outcome could not be persisted; otherwise the rescue decides."""
        outcome = replace(outcome_of(error, lease.claim), seconds=seconds)
        try:
            self.finish(lease, outcome)
        except Exception:
            log.exception("outcome_not_persisted", **log_fields(lease.claim))


def _holds(lease: Lease) -> bool:
    if lease.lost:
        _log_lost(lease)
        return False
    return True


def _log_lost(lease: Lease) -> None:
    log.warning("lease_lost", status="succeeded", **log_fields(lease.claim))
