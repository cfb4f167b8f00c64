"""Requests and replies about groups."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.fields import NO_CONTROL_CHARACTERS, Timestamp, without_default
from api.schemas.replies import Reply
from api.schemas.requests import Request
from shared.tables import GroupRole

MEMBER = "member_"


class GroupPath(BaseModel):
    """A path with a group."""

    group: str = Field(description="a group's name or id")


class MemberPath(BaseModel):
    """A path with a group and one of its users."""

    group: str = Field(description="a group's name or id")
    user: str = Field(description="a user's name or id")


def _cap(maximum: float, description: str) -> Any:
    return Field(
        None,
        ge=0,
        le=maximum,
        allow_inf_nan=False,
        description=description,
        json_schema_extra=without_default,
    )


def _cap_of_all(maximum: float, description: str) -> Any:
    return _cap(maximum, f"{description} of all members together; null for no cap")


def _cap_of_each(maximum: float, description: str) -> Any:
    return _cap(maximum, f"{description} of each member; null for the server's default")


class GroupFields(Request):
    """The end and the caps of a group. They do not concern its teachers."""

    ends_at: Timestamp | None = Field(
        None,
        description="from when on its caps, what is shared with it, and its teachers' rights no "
        "longer hold; null for never",
        json_schema_extra=without_default,
    )
    max_running: int | None = _cap_of_all(100_000, "concurrent trainings")
    max_queued: int | None = _cap_of_all(100_000_000, "queued and paused jobs")
    max_device_seconds_per_day: float | None = _cap_of_all(1e9, "device seconds per day")
    max_stored_bytes: int | None = _cap_of_all(2**60, "bytes of corpora and checkpoints")
    member_max_running: int | None = _cap_of_each(1000, "concurrent trainings")
    member_max_queued: int | None = _cap_of_each(1_000_000, "queued and paused jobs")
    member_max_device_seconds_per_day: float | None = _cap_of_each(1e9, "device seconds per day")
    member_max_stored_bytes: int | None = _cap_of_each(2**60, "bytes of corpora and checkpoints")
    member_max_corpora_bytes: int | None = _cap_of_each(2**60, "bytes of corpora")


class NewGroup(GroupFields):
    """Create a group."""

    name: str = Field(min_length=1, max_length=100, pattern=NO_CONTROL_CHARACTERS)


class GroupUpdate(GroupFields):
    """Change a group. A field that is left out keeps its value."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have an end or a cap")
        return self


class NewMember(Request):
    """Add a user to a group."""

    user: str = Field(
        min_length=1,
        max_length=100,
        pattern=NO_CONTROL_CHARACTERS,
        description="a user's name or id, or the name of a new user",
    )
    role: GroupRole = Field(
        "member",
        description="`teacher` manages the group's people and caps, and sees no more of what is "
        "private than anybody else",
    )
    create: bool = Field(False, description="make a new user of this name, without an API key")


class MemberUpdate(Request):
    """Change what a user is in a group."""

    role: GroupRole


class GroupUseReply(Reply):
    """What users of a group have now."""

    running: int = Field(description="trainings")
    queued: int
    device_seconds_today: float
    stored_bytes: int


class GroupReply(Reply):
    """A group."""

    id: str
    name: str
    ends_at: datetime | None
    ended: bool
    role: GroupRole | None = Field(description="yours; null for an admin who is not in it")
    members: int = Field(description="its members and teachers, in number")
    max_running: int | None
    max_queued: int | None
    max_device_seconds_per_day: float | None
    max_stored_bytes: int | None
    member_max_running: int | None
    member_max_queued: int | None
    member_max_device_seconds_per_day: float | None
    member_max_stored_bytes: int | None
    member_max_corpora_bytes: int | None
    created_at: datetime


class MemberReply(Reply):
    """A user in a group, and the use of the server in numbers."""

    id: str
    name: str
    role: GroupRole
    disabled_at: datetime | None = Field(description="when the user was disabled; null if enabled")
    joined_at: datetime
    use: GroupUseReply
