"""The replies about users, keys, devices, the queue and usage."""

from datetime import datetime
from typing import Any

from pydantic import Field

from quire.client.replies import Reply


class Me(Reply):
    """The owner of the key in use."""

    name: str
    role: str


class User(Reply):
    """A user of the server."""

    id: str
    name: str
    role: str
    created_at: datetime | None = None
    disabled_at: datetime | None = None


class Session(Reply):
    """A browser that is signed in with a key, or with a link that was made for one."""

    id: str
    origin: str
    made_from: str | None = None
    created_at: datetime
    expires_at: datetime


class Key(Reply):
    """An API key. Only the reply that created it contains `key` itself."""

    id: str
    prefix: str
    name: str | None = None
    key: str | None = None
    made_by: str | None = None
    made_from: str | None = None
    created_at: datetime | None = None
    revoked_at: datetime | None = None
    sessions: list[Session] = Field(default_factory=list)


class Device(Reply):
    """A worker process and its device."""

    id: str
    host: str
    device: str
    lane: str
    gpu_name: str | None = None
    pid: int | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    alive: bool = False
    ready: bool = True
    draining: bool = False
    current_job: Any = None


class Lane(Reply):
    """The state of the queue for one kind of job."""

    kind: str
    workers: int
    running: int
    queued: int
    users: int


class QueueEntry(Reply):
    """A queued job; the jobs of other users have no name."""

    kind: str
    position: int
    starts_at: datetime | None = None
    mine: bool = False
    job: str | None = None
    name: str | None = None
    user: str | None = None


class Queue(Reply):
    """The lanes, and the queued jobs in order."""

    lanes: list[Lane]
    line: list[QueueEntry]


class Cap(Reply):
    """The usage of one resource, and its cap. `own` marks a cap of this user's own."""

    used: float
    cap: float | None = None
    own: bool = False


class Usage(Reply):
    """The usage and caps of a user."""

    user: str
    share: float
    served_seconds: float
    share_served: float
    running: Cap
    queued: Cap
    device_seconds_today: Cap
    stored_bytes: Cap
    corpora_bytes: Cap
    corpora: Cap | None = None
    models: Cap | None = None
    keys: Cap | None = None
    day_ends_at: datetime
