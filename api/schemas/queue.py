"""Replies about the queue, usage and caps."""

from datetime import datetime

from pydantic import Field

from api.schemas.replies import Reply
from shared.tables import Kind


class LaneReply(Reply):
    """The queue of one kind of job."""

    kind: Kind
    workers: int = Field(description="workers that are up")
    running: int
    queued: int = Field(
        description="jobs that are ready to run, not counting those that wait for other jobs"
    )
    users: int = Field(description="users with queued jobs")
    slice_seconds: float = Field(
        description="approximate time that a job runs before another one may take its turn, from "
        "at least three jobs of at least two users and rounded, or from your own jobs"
    )


class QueueEntryReply(Reply):
    """One entry of a queue."""

    kind: Kind
    position: int
    starts_at: datetime | None
    mine: bool
    job: str | None = Field(description="null unless it is yours")
    name: str | None = Field(description="null unless it is yours")
    user: str | None = Field(description="null unless it is yours or you are an admin")


class QueueReply(Reply):
    """The queues and their entries."""

    lanes: list[LaneReply]
    line: list[QueueEntryReply]


class CapReply(Reply):
    """Usage of one resource, and its cap."""

    used: float
    cap: float | None = Field(description="null if unlimited")
    own: bool = Field(
        description="whether an admin set the cap; otherwise it is the server's default"
    )


class UsageReply(Reply):
    """A user's share, usage and caps."""

    user: str
    share: float
    served_seconds: float = Field(description="device time charged so far; old use decays")
    share_served: float = Field(description="fraction of the device time of all users, from 0 to 1")
    running: CapReply
    queued: CapReply
    device_seconds_today: CapReply
    stored_bytes: CapReply
    corpora_bytes: CapReply
    corpora: CapReply = Field(description="in number")
    models: CapReply = Field(description="in number")
    keys: CapReply = Field(description="API keys that are not revoked")
    day_ends_at: datetime
