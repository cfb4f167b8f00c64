"""How a run ends whose device failed: its job is queued again, unless it breaks devices."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from shared.database import reading
from shared.queue.base import without_this_attempt
from shared.queue.completion import JobCompletion
from shared.queue.types import Claim, problem
from shared.tables import JobEvent

#: A job that so many devices, or one so often, have failed under is what breaks them. It is more
#: than quarantines a device, so that a bad one does not fail the jobs that meet it.
MOST_FAULTS = 6
FAULT_CHARACTERS = 300


class DeviceFaults(JobCompletion):
    """Ends of runs whose device failed, as their workers report them."""

    def release_from_fault(
        self, claim: Claim, reason: str, *, seconds: float | None = None
    ) -> None:
        """Return a job to the queue whose device failed; no attempt is counted.

        A job that devices fail under again and again is what breaks them, and fails. A generation
        is suspected only once it ran alone, which it does from now on.

        Args:
            claim: The job.
            reason: What the device did, for the job's history.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `succeed`.
        """
        device = claim.worker_id.rpartition("/")[0]
        met = [*self._faults_met(claim), device]
        suspected = claim.kind == "train" or claim.alone
        if suspected and (len(met) >= MOST_FAULTS or len(met) > len(set(met)) > 1):
            return self.fail(claim, _breaks_devices(met, reason), seconds=seconds)
        data = {"reason": "device_failed", "device": device, "why": reason[:FAULT_CHARACTERS]}
        values: dict[str, Any] = {"alone": True} if claim.kind == "generate" else {}
        self._end_one(
            claim,
            "queued",
            seconds,
            event_data=data,
            fruitless_attempts=without_this_attempt(),
            **values,
        )

    def _faults_met(self, claim: Claim) -> list[str]:
        """The devices that have failed under a job."""
        with reading(self.engine) as connection:
            events = connection.scalars(
                select(JobEvent.data).where(
                    JobEvent.job_id == claim.job_id, JobEvent.type == "queued"
                )
            )
            return [data["device"] for data in events if data.get("reason") == "device_failed"]


def _breaks_devices(met: Sequence[str], reason: str) -> dict[str, Any]:
    devices = ", ".join(sorted(set(met)))
    return problem(
        "device-failed",
        "The job's devices failed",
        f"{len(met)} runs of the job ended because their device failed ({devices}), the last with: "
        f"{reason[:FAULT_CHARACTERS]}. Change its numbers (`units`, `batch_size`, `window`), or "
        "ask the server's admin to check the devices.",
    )
