"""What an answer says of the server: its devices, its people and its health."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.fields import Role
from api.schemas.replies import Reply
from shared.tables import Kind


class DeviceReply(Reply):
    """A worker, as it last showed itself."""

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
    current_job: str | None = Field(description="null also where the job is not yours")


class UserReply(Reply):
    """A person."""

    id: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None = Field(description="since when their keys stand still")


class MeReply(Reply):
    """Whose key this is."""

    id: str
    name: str
    role: Role


class KeyReply(Reply):
    """An API key, without the key."""

    id: str
    prefix: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


class NewKeyReply(Reply):
    """An API key at the only moment when it is whole."""

    id: str
    prefix: str
    name: str
    key: str | None = Field(description="shown once; null where a replay repeats the answer")
    created_at: datetime


class LiveReply(Reply):
    """The process answers."""

    status: Literal["ok"]


class ReadyReply(Reply):
    """Which parts the API can reach."""

    status: Literal["ok", "unavailable"]
    database: str
    redis: str
