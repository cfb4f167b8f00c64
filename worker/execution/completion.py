"""Persists how runs ended: one run alone, or all that succeeded at once in one transaction."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from shared.queue import FinishedJob, Queue
from shared.queue.errors import LeaseLost
from shared.queue.types import Claim
from worker.execution.lease import Lease
from worker.execution.outages import DATABASE_AWAY, RETRY_SECONDS, driver_message
from worker.execution.outcome import RunOutcome, outcome_of

log = structlog.get_logger(__name__)

Finished = tuple[Lease, RunOutcome]


def log_fields(claim: Claim) -> dict[str, object]:
    """What a log line says of a job."""
    return {"job": claim.job_id, "user": claim.user_id, "attempt": claim.attempt}


def finish(queue: Queue, lease: Lease, outcome: RunOutcome) -> None:
    """Persist how a run ended, retrying while the database is away and the lease holds."""
    claim, texts, seconds = lease.claim, outcome.texts, outcome.seconds
    writes: dict[str, Callable[[], None]] = {
        "succeeded": lambda: queue.succeed(claim, texts, seconds=seconds),
        "failed": lambda: queue.fail(claim, outcome.problem or {}, texts, seconds=seconds),
        "cancelled": lambda: queue.cancel_claimed(claim, texts, seconds=seconds),
        "released": lambda: queue.release(claim, outcome.reason, seconds=seconds),
        "abandoned": lambda: None,
    }
    try:
        lease.persist(writes[outcome.status])
        lease.publish("state")
    except LeaseLost:
        log.warning("lease_lost", status=outcome.status)
    if outcome.problem is not None:
        log.warning("run_failed", slug=outcome.problem["type"], detail=outcome.problem["detail"])


def finish_or_fail(queue: Queue, lease: Lease, outcome: RunOutcome) -> None:
    """Persist how a run ended; if that raises, fail this job and spare those beside it."""
    try:
        finish(queue, lease, outcome)
    except Exception as error:
        _fail(queue, lease, error, outcome.seconds)


def finish_together(queue: Queue, finished: Sequence[Finished]) -> None:
    """Persist succeeded runs in one transaction; a run that cannot be persisted fails alone."""
    while finished := [(lease, outcome) for lease, outcome in finished if _holds(lease)]:
        outcomes: list[FinishedJob] = [(lease.claim, outcome.texts) for lease, outcome in finished]
        used = {lease.claim.job_id: outcome.seconds or 0.0 for lease, outcome in finished}
        try:
            lost = {claim.job_id for claim in queue.finish(outcomes, seconds=used).lost}
            for lease, _ in finished:
                if lease.claim.job_id in lost:
                    _log_lost(lease)
                else:
                    lease.publish("state")
            return
        except DATABASE_AWAY as error:
            log.warning("database_away", reason=driver_message(error))
            time.sleep(RETRY_SECONDS)
        except Exception as error:
            if len(finished) == 1:
                [(lease, outcome)] = finished
                _fail(queue, lease, error, outcome.seconds)
                return
            for run in finished:
                finish_together(queue, [run])
            return


def _fail(queue: Queue, lease: Lease, error: Exception, seconds: float | None) -> None:
    """Fail a job whose outcome could not be persisted; if this fails too, the rescue decides."""
    outcome = replace(outcome_of(error, lease.claim.kind), seconds=seconds)
    try:
        finish(queue, lease, outcome)
    except Exception:
        log.exception("outcome_not_persisted", **log_fields(lease.claim))


def _holds(lease: Lease) -> bool:
    if lease.lost:
        _log_lost(lease)
        return False
    return True


def _log_lost(lease: Lease) -> None:
    log.warning("lease_lost", status="succeeded", **log_fields(lease.claim))
