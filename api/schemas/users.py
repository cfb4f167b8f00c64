"""What may be asked of the server's people: users, keys and what each may have."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from api.schemas.fields import NO_CONTROL_CHARACTERS, Name, Role, without_default
from api.schemas.requests import Request

MAX_SHARE = 1000


class NewUser(Request):
    """A user to be."""

    name: str = Field(min_length=1, max_length=100, pattern=NO_CONTROL_CHARACTERS)
    role: Role = "member"


class UserUpdate(Request):
    """Whether a user may use the server."""

    disabled: bool = Field(
        description="their keys stop at once and their jobs wait; false lets both go on"
    )


class NewApiKey(Request):
    """A key to be."""

    name: Annotated[Name, Field(max_length=100)] = "default"


def _cap(most: float, what: str) -> Any:
    return Field(
        None,
        ge=0,
        le=most,
        description=f"{what}; null for the server's default",
        json_schema_extra=without_default,
    )


class CapsUpdate(Request):
    """What one user may have; a field that is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    share: float = Field(
        1.0,
        gt=0,
        le=MAX_SHARE,
        allow_inf_nan=False,
        description="twice the share is twice the device time while all have work",
        json_schema_extra=without_default,
    )
    max_running: int | None = _cap(1000, "trainings that run at once")
    max_queued: int | None = _cap(1_000_000, "jobs that wait or are paused")
    max_device_seconds_per_day: float | None = _cap(1e9, "device time in a day")
    max_stored_bytes: int | None = _cap(2**60, "bytes of corpora and checkpoints")
    max_corpora_bytes: int | None = _cap(2**60, "bytes of corpora")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have a share or a cap")
        return self
