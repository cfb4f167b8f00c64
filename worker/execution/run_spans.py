"""The spans of a job's run: its claim, what it computed, and its end."""

import time

from shared.job_traces import JobTraces
from shared.tables import Kind
from worker.execution.lease import Lease
from worker.execution.outcome import RunOutcome

#: What a run of each kind does.
RUN_NAMES: dict[Kind, str] = {"train": "fit", "generate": "sample"}


class RunSpans:
    """Records the spans of runs. Of a run that is killed, there is its claim alone.

    Args:
        traces: Takes the spans.
    """

    def __init__(self, traces: JobTraces) -> None:
        self._traces = traces

    def claimed(self, lease: Lease) -> None:
        """Record a claim, which may have been made together with others."""
        about = _about(lease)
        self._traces.record(lease.claim.job_id, "claim", lease.asked_at, lease.began_at, about)

    def ended(self, lease: Lease, outcome: RunOutcome, ended_at: float, *, lost: bool) -> None:
        """Record a run, and how its end was written.

        Args:
            lease: The run.
            outcome: How it ended.
            ended_at: When it ended, by `time.monotonic`; since then its end was written.
            lost: Whether nothing was written, because the lease was lost.
        """
        claim, error = lease.claim, None
        if lost:
            error = "lease_lost"
        elif outcome.problem is not None:
            error = outcome.problem["type"]
        about = {**_about(lease), "quire.outcome": "lost" if lost else outcome.status}
        name = RUN_NAMES[claim.kind]
        self._traces.record(claim.job_id, name, lease.began_at, ended_at, about, error=error)
        self._traces.record(claim.job_id, "end", ended_at, time.monotonic(), about)


def _about(lease: Lease) -> dict[str, str | int]:
    return {"quire.attempt": lease.claim.attempt, "quire.worker": lease.claim.worker_id}
