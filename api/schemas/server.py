"""Replies about devices, users, keys and health."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.fields import Role
from api.schemas.replies import Reply
from api.schemas.requests import Request
from shared.accounts import Scope
from shared.audit import Action
from shared.tables import AnnouncementLevel, Kind


class DeviceReply(Reply):
    """A worker, as of its last heartbeat."""

    id: str
    host: str
    device: str
    lane: Kind
    slot: int = Field(description="which of the lane's `slots` on its device the worker is, from 0")
    slots: int = Field(
        description="how many workers of the lane share the device; each of their jobs is charged "
        "1/slots of its seconds"
    )
    gpu_name: str | None
    gpu_uuid: str | None
    versions: dict[str, Any]
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
    ready: bool
    draining: bool = Field(description="it is about to stop, and takes no more jobs")
    current_job: str | None = Field(description="null also if the job is not yours")
    gpu_memory_bytes: int | None = Field(
        description="the part of its GPU's memory that it may use; null on a CPU"
    )
    problem: str | None = Field(
        description="why the device takes no jobs: it is broken or quarantined; null if it is well"
    )
    quarantined: bool = Field(
        description="the device computed, but failed too often; it takes no jobs until a probe "
        "passes or an admin frees it"
    )
    problem_since: datetime | None
    retry_at: datetime | None = Field(description="when a device with a problem is probed again")
    faults: int = Field(
        description="recent errors of the device, which the workers of a device share"
    )


class DeviceToFree(Request):
    """A device that should take jobs again."""

    host: str = Field(min_length=1, max_length=100, description="the name of its machine")
    device: str = Field(min_length=1, max_length=60, description="its name there, as `gpu:0`")


class FreedDeviceReply(Reply):
    """A device that takes jobs again, once its workers have probed it."""

    host: str
    device: str
    problem: str | None = Field(description="what was wrong with it; null if nothing was")


class DrainReply(Reply):
    """The workers that were asked to stop."""

    workers: list[str] = Field(
        description="their ids, `host/device/lane`, or `host/device/lane:slot` of a further slot"
    )


class AnnouncementReply(Reply):
    """What whoever runs the server tells all its users."""

    text: str
    level: AnnouncementLevel
    made_by: str | None = Field(description="the admin")
    created_at: datetime
    ends_at: datetime | None = Field(description="when it goes by itself; null for never")


class CurrentAnnouncementReply(Reply):
    """The announcement that holds now."""

    announcement: AnnouncementReply | None


class UserReply(Reply):
    """A user."""

    id: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None = Field(description="when the user was disabled; null if enabled")


class OwnKeyReply(Reply):
    """The key that sent the request."""

    id: str
    prefix: str
    scopes: list[Scope] = Field(description="what both the key and its user's role allow")
    expires_at: datetime | None


class MeReply(Reply):
    """The user whose key sent the request, and the key."""

    id: str
    name: str
    role: Role
    key: OwnKeyReply


class SessionReply(Reply):
    """A browser that is signed in with a key."""

    id: str
    origin: Literal["key", "link"] = Field(
        description="whether it signed in with the key itself, or with a link that was made for it"
    )
    made_from: str | None = Field(description="the address it signed in from")
    created_at: datetime
    expires_at: datetime


class OwnSessionReply(SessionReply):
    """The session of the browser that sent the request."""

    user: MeReply
    csrf_token: str = Field(
        description="the value of the header `X-CSRF-Token`, which every request with the cookie "
        "needs that is no GET"
    )


class KeyReply(Reply):
    """An API key, without the key."""

    id: str
    prefix: str
    name: str
    made_by: str | None = Field(
        description="the user who made it; null if it was made on the server's machine, or before "
        "this was recorded"
    )
    made_from: str | None = Field(description="the address it was made from; null if unknown")
    scopes: list[Scope] = Field(description="what it may be used for, as far as the role allows")
    created_at: datetime
    expires_at: datetime | None = Field(description="from when on it is refused; null for never")
    last_used_at: datetime | None = Field(
        description="to about a minute; null if it was not used, or before this was recorded"
    )
    revoked_at: datetime | None
    sessions: list[SessionReply] = Field(
        description="the browsers that are signed in with it, newest first; they end with it"
    )


class NewKeyReply(Reply):
    """A new API key, the only reply that contains it."""

    id: str
    prefix: str
    name: str
    key: str | None = Field(description="shown once; null in a replay of this response")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None


class EnrolledReply(NewKeyReply):
    """The key that an enrolment promised, and its user."""

    user: str


class EnrolmentReply(Reply):
    """A one-time link, without the link."""

    id: str
    user: str
    state: Literal["open", "redeemed", "revoked", "expired"]
    scopes: list[Scope] = Field(description="what the key may be used for")
    made_by: str | None
    made_from: str | None
    created_at: datetime
    expires_at: datetime
    redeemed_at: datetime | None
    redeemed_from: str | None = Field(description="the address it was redeemed from")
    revoked_at: datetime | None


class NewEnrolmentReply(EnrolmentReply):
    """A new one-time link, the only reply that contains it."""

    link: str | None = Field(description="shown once; null in a replay of this response")


class AuditResource(Reply):
    """What something was done to."""

    kind: str
    id: str = Field(description="its id; of a key, the prefix")


class AuditEventReply(Reply):
    """Something that was done."""

    id: str
    at: datetime
    action: Action
    actor: str | None = Field(
        description="the user who did it; null for somebody on the server's machine, and for "
        "refused sign-ins"
    )
    key_prefix: str | None = Field(description="of the key that it was done with")
    address: str | None = Field(description="from where it was done")
    user: str | None = Field(description="the user whom it concerns")
    resource: AuditResource | None
    details: dict[str, Any] | None
    count: int = Field(description="refused sign-ins of this address in this minute; or 1")


class StorageReply(Reply):
    """What is stored on the server, and how much room is left, in bytes."""

    corpora_bytes: int = Field(description="texts, as users count them")
    checkpoints_bytes: int = Field(description="checkpoints, as users count them")
    blobs_bytes: int = Field(description="what is kept of both: equal contents are kept once")
    database_bytes: int | None = Field(description="the whole database with its indices")
    disk_bytes: int | None = Field(
        description="the size of the disk of the database; null with PostgreSQL, which tells none"
    )
    disk_free_bytes: int | None = Field(
        description="what is free of it; null with PostgreSQL, which tells none"
    )
    min_free_bytes: int = Field(
        description="with less than this free, uploads are refused and checkpoints wait "
        "(`QUIRE_MIN_FREE_BYTES`); 0 for no limit"
    )


class LiveReply(Reply):
    """The process is alive."""

    status: Literal["ok"]


class ReadyReply(Reply):
    """The services that the API can reach."""

    status: Literal["ok", "unavailable"]
    database: str
    redis: str
