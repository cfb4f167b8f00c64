"""How a run ends, and which ending an error leads to. Nothing else decides this."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from shared.queue.errors import LeaseLost
from shared.queue.types import Claim, Generated, TextRecord
from worker.execution.device_errors import describe, is_device_error, is_out_of_memory
from worker.execution.failures import deadline_exceeded, explain, is_known
from worker.execution.lease import CancelRequested, DeadlineReached, Interrupted
from worker.execution.outages import DATABASE_AWAY, driver_message

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended.

    The worker of an `abandoned` run can no longer write: the lease expires, and the rescue decides.
    A `cancelled` run, and one that failed by its deadline, keep the texts written so far.

    Attributes:
        texts: What the run wrote.
        problem: Why a `failed` run failed, in the form of RFC 9457.
        reason: Why a `released` run was interrupted, for the job's history.
        seconds: Device-seconds that the run used.
        generated: What a generation wrote, to be counted.
        device_fault: What the device did, if that `released` the run.
        out_of_memory: Whether the run `failed` because the device's memory ran out.
    """

    status: Literal["succeeded", "failed", "cancelled", "released", "abandoned"]
    texts: Sequence[TextRecord] = ()
    problem: dict[str, Any] | None = None
    reason: str = ""
    seconds: float | None = None
    generated: Generated | None = None
    device_fault: str | None = None
    out_of_memory: bool = False


def outcome_of(error: Exception, claim: Claim) -> RunOutcome:
    """The outcome of a run that raised an error. Call it where the error is caught."""
    kind = claim.kind
    if isinstance(error, CancelRequested):
        return RunOutcome("cancelled")
    if isinstance(error, Interrupted):
        return RunOutcome("released", reason=error.reason)
    if isinstance(error, DeadlineReached):
        return RunOutcome("failed", problem=deadline_exceeded(kind))
    if isinstance(error, LeaseLost):
        return RunOutcome("abandoned")
    if isinstance(error, DATABASE_AWAY):
        log.warning("database_away", reason=driver_message(error))
        return RunOutcome("abandoned")
    if is_device_error(error):
        return RunOutcome("released", reason="device_failed", device_fault=describe(error))
    if not is_known(error):
        log.exception("run_crashed", exc_info=error)
    problem = explain(error, kind, claim.spec)
    return RunOutcome("failed", problem=problem, out_of_memory=is_out_of_memory(error))
