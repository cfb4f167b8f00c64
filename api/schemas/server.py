"""Replies about devices, users, keys and health."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.fields import Role
from api.schemas.replies import Reply
from shared.tables import Kind


class DeviceReply(Reply):
    """A worker, as of its last heartbeat."""

    id: str
    host: str
    device: str
    lane: Kind
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


class UserReply(Reply):
    """A user."""

    id: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None = Field(description="when the user was disabled; null if enabled")


class MeReply(Reply):
    """The user whose key sent the request."""

    id: str
    name: str
    role: Role


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
    created_at: datetime
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
    created_at: datetime


class LiveReply(Reply):
    """The process is alive."""

    status: Literal["ok"]


class ReadyReply(Reply):
    """The services that the API can reach."""

    status: Literal["ok", "unavailable"]
    database: str
    redis: str
