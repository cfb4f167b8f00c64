"""What an answer says of the line, and of what somebody used of the devices."""

from datetime import datetime

from pydantic import Field

from api.schemas.replies import Reply
from shared.tables import Kind


class LaneReply(Reply):
    """The line of one kind of job."""

    kind: Kind
    workers: int = Field(description="that are up")
    running: int
    queued: int = Field(description="that could run; those that wait for other jobs do not count")
    users: int = Field(description="who wait")
    slice_seconds: float = Field(description="about how long a worker is held at a time")


class QueueEntryReply(Reply):
    """One place in a line."""

    kind: Kind
    position: int
    starts_at: datetime | None
    mine: bool
    job: str | None = Field(description="null where it is not yours")
    name: str | None = Field(description="null where it is not yours")
    user: str | None = Field(description="null where it is not yours and you are no admin")


class QueueReply(Reply):
    """The lines, and who stands where in them."""

    lanes: list[LaneReply]
    line: list[QueueEntryReply]


class CapReply(Reply):
    """How much of something a user has, and may have."""

    used: float
    cap: float | None = Field(description="null where there is none")
    own: bool = Field(description="whether an admin set it; else it is the server's default")


class UsageReply(Reply):
    """What a user has used, and may use."""

    user: str
    share: float
    served_seconds: float = Field(description="device time charged so far; what is old counts less")
    share_served: float = Field(description="of all that everybody was served, from 0 to 1")
    running: CapReply
    queued: CapReply
    device_seconds_today: CapReply
    stored_bytes: CapReply
    corpora_bytes: CapReply
    day_ends_at: datetime
