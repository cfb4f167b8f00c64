"""What the queue refuses. Each message says what to do about it."""

from shared.queue.types import Claim


class QueueError(Exception):
    """The base of the queue's own errors."""


class LeaseLost(QueueError):
    """The attempt no longer holds the job. Stop, and write nothing."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        super().__init__(f"attempt {claim.attempt} of job {claim.job_id} has lost its lease")


class NoSuchJob(QueueError):
    """There is no job of this id."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"there is no job {job_id}")


class AlreadyEnded(QueueError):
    """The job has ended, and a job that has ended never changes."""

    def __init__(self, job_id: str, status: str) -> None:
        self.job_id, self.status = job_id, status
        super().__init__(f"job {job_id} has already {_ENDS[status]}")


class PredecessorFailed(QueueError):
    """The job that another was to run after has failed or been cancelled."""

    def __init__(self, job_id: str, status: str) -> None:
        self.job_id, self.status = job_id, status
        super().__init__(
            f"job {job_id} has {_ENDS[status]}, so no job can run after it: "
            "run it again, and name the new job"
        )


_ENDS = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}
