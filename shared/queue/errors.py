"""What the queue refuses. An exception's message is what its reader should do about it."""

from datetime import datetime

from shared.queue.types import Claim


class QueueError(Exception):
    """Something the queue would not do."""


class LeaseLost(QueueError):
    """The job is no longer this attempt's: stop, write nothing."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        super().__init__(f"attempt {claim.attempt} of job {claim.job_id} has lost its lease")


class NoSuchJob(QueueError):
    """There is no job of that id."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"there is no job {job_id}")


class AlreadyEnded(QueueError):
    """The job has ended, and terminal states are final."""

    def __init__(self, job_id: str, status: str) -> None:
        self.job_id, self.status = job_id, status
        super().__init__(f"job {job_id} has already {_ENDS[status]}")


class WaitsInVain(QueueError):
    """What a job is to come after will never succeed."""

    def __init__(self, job_id: str, status: str) -> None:
        self.job_id, self.status = job_id, status
        super().__init__(
            f"job {job_id} has {_ENDS[status]}, so that nothing can come after it: "
            "run it again, and name the new one"
        )


class CapReached(QueueError):
    """A user has as much of something as they may have.

    Attributes:
        slug: What the cap is called where programs read it.
        title: What it is called where people do.
        retry_seconds: When to try again, where time alone will help; else None.
    """

    slug = "cap-reached"
    title = "A cap is reached"

    def __init__(self, detail: str, retry_seconds: float | None = None) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(detail)


class QueueFull(CapReached):
    """The user has as many queued jobs as they may have."""

    slug, title = "queue-full", "Too many queued jobs"

    def __init__(self, queued: int, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"you have {queued:,} queued jobs, paused ones included, and one user may have "
            f"{limit:,}: wait for some to run, or cancel some",
            QUEUE_FULL_RETRY_SECONDS,
        )


class DayUsedUp(CapReached):
    """The user's device time for today is used up."""

    slug, title = "day-used-up", "Today's device time is used up"

    def __init__(self, used: float, limit: float, until: datetime, seconds_left: float) -> None:
        super().__init__(
            f"you have used {used:,.0f} of {limit:,.0f} device-seconds today, which is the most "
            f"one may use in a day: there is more from {until:%Y-%m-%d %H:%M} UTC on",
            seconds_left,
        )


class StorageFull(CapReached):
    """The user's corpora and checkpoints take as many bytes as they may."""

    slug, title = "storage-full", "Too many stored bytes"

    def __init__(self, used: int, more: int, limit: int) -> None:
        super().__init__(
            f"your corpora and checkpoints take {used:,} bytes"
            + (f", this would be {more:,} more" if more else "")
            + f", and one user may have {limit:,}: delete models or corpora that you don't need"
        )


class CorporaFull(CapReached):
    """The user's corpora take as many bytes as they may."""

    slug, title = "corpora-full", "Too many bytes of corpora"

    def __init__(self, used: int, more: int, limit: int) -> None:
        super().__init__(
            f"your corpora take {used:,} bytes, this would be {more:,} more, and one user may "
            f"have {limit:,}: delete corpora that you don't need"
        )


QUEUE_FULL_RETRY_SECONDS = 30.0
_ENDS = {"succeeded": "succeeded", "failed": "failed", "cancelled": "been cancelled"}
