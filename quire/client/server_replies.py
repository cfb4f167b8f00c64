"""What the server answers of itself: its people, its devices, and the line before them."""

from datetime import datetime
from typing import Any

from quire.client.replies import Reply


class Me(Reply):
    """The owner of the key in use."""

    name: str
    role: str


class User(Reply):
    """A person known to the server."""

    id: str
    name: str
    role: str
    created_at: datetime | None = None
    disabled_at: datetime | None = None


class Key(Reply):
    """An API key. `key` itself is there only in the answer that made it."""

    id: str
    prefix: str
    name: str | None = None
    key: str | None = None
    created_at: datetime | None = None
    revoked_at: datetime | None = None


class Device(Reply):
    """A worker process and the device that it holds."""

    id: str
    host: str
    device: str
    lane: str
    gpu_name: str | None = None
    pid: int | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    alive: bool = False
    current_job: Any = None


class Lane(Reply):
    """The line of one kind of job."""

    kind: str
    workers: int
    running: int
    queued: int
    users: int


class Turn(Reply):
    """One place in a line; what is not one's own has no name."""

    kind: str
    position: int
    starts_at: datetime | None = None
    mine: bool = False
    job: str | None = None
    name: str | None = None
    user: str | None = None


class Queue(Reply):
    """The lines, and who stands where in them."""

    lanes: list[Lane]
    line: list[Turn]


class Cap(Reply):
    """How much of something a user has, and may have."""

    used: float
    cap: float | None = None
    own: bool = False


class Usage(Reply):
    """What a user has used, and may use."""

    user: str
    share: float
    served_seconds: float
    share_served: float
    running: Cap
    queued: Cap
    device_seconds_today: Cap
    stored_bytes: Cap
    corpora_bytes: Cap
    day_ends_at: datetime
