"""The replies about users, keys, devices, the queue and usage."""

from datetime import datetime
from typing import Any

from pydantic import Field

from quire.client.replies import Reply


class OwnKey(Reply):
    """The key in use."""

    id: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None = None


class Me(Reply):
    """The owner of the key in use, and the key."""

    name: str
    role: str
    key: OwnKey | None = None


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
    scopes: list[str] | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    sessions: list[Session] = Field(default_factory=list)


class Enrolment(Reply):
    """A one-time link with which a user makes a key. Only the reply that made it has `link`."""

    id: str
    user: str
    state: str
    scopes: list[str]
    link: str | None = None
    made_by: str | None = None
    made_from: str | None = None
    created_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None = None
    redeemed_from: str | None = None
    revoked_at: datetime | None = None


class AuditResource(Reply):
    """What something was done to."""

    kind: str
    id: str


class AuditEvent(Reply):
    """Something that was done; refused sign-ins of an address and minute are one event."""

    id: str
    at: datetime
    action: str
    actor: str | None = None
    key_prefix: str | None = None
    address: str | None = None
    user: str | None = None
    resource: AuditResource | None = None
    details: dict[str, Any] | None = None
    count: int = 1


class Device(Reply):
    """A worker process and its device."""

    id: str
    host: str
    device: str
    lane: str
    slot: int = 0
    slots: int = 1
    gpu_name: str | None = None
    pid: int | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    alive: bool = False
    ready: bool = True
    draining: bool = False
    current_job: Any = None
    gpu_memory_bytes: int | None = None
    problem: str | None = None
    quarantined: bool = False
    problem_since: datetime | None = None
    retry_at: datetime | None = None
    faults: int = 0


class FreedDevice(Reply):
    """A device that takes jobs again; `problem` is what was wrong with it."""

    host: str
    device: str
    problem: str | None = None


class Drained(Reply):
    """The workers that were asked to stop."""

    workers: list[str]


class Storage(Reply):
    """What is stored on the server, and how much room is left, in bytes."""

    corpora_bytes: int
    checkpoints_bytes: int
    blobs_bytes: int
    database_bytes: int | None = None
    disk_bytes: int | None = None
    disk_free_bytes: int | None = None
    min_free_bytes: int


class Announcement(Reply):
    """What is announced to all users."""

    text: str
    level: str = "info"
    made_by: str | None = None
    created_at: datetime | None = None
    ends_at: datetime | None = None


class CurrentAnnouncement(Reply):
    """The announcement that holds now, if there is one."""

    announcement: Announcement | None = None


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


class Group(Reply):
    """A group. `max_…` bounds its members together, `member_max_…` each; None is no bound."""

    id: str
    name: str
    ends_at: datetime | None = None
    ended: bool = False
    role: str | None = None
    members: int = 0
    max_running: int | None = None
    max_queued: int | None = None
    max_device_seconds_per_day: float | None = None
    max_stored_bytes: int | None = None
    member_max_running: int | None = None
    member_max_queued: int | None = None
    member_max_device_seconds_per_day: float | None = None
    member_max_stored_bytes: int | None = None
    member_max_corpora_bytes: int | None = None
    created_at: datetime | None = None


class MemberUse(Reply):
    """What a user of a group has now."""

    running: int
    queued: int
    device_seconds_today: float
    stored_bytes: int


class Member(Reply):
    """A user in a group."""

    id: str
    name: str
    role: str
    disabled_at: datetime | None = None
    joined_at: datetime | None = None
    use: MemberUse


class Readiness(Reply):
    """Which services the API can reach. `status` is ``ok`` if it can reach them all."""

    status: str
    database: str
    redis: str
