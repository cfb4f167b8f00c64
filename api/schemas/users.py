"""Request bodies about users, keys and caps."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from api.schemas.fields import (
    NO_CONTROL_CHARACTERS,
    Name,
    Role,
    Scopes,
    Timestamp,
    without_default,
)
from api.schemas.requests import Request

MAX_SHARE = 1000
KeyName = Annotated[Name, Field(max_length=100)]


class NewUser(Request):
    """Create a user."""

    name: str = Field(min_length=1, max_length=100, pattern=NO_CONTROL_CHARACTERS)
    role: Role = "member"


class UserUpdate(Request):
    """Disable or enable a user."""

    disabled: bool = Field(
        description="true refuses the user's keys at once and holds their jobs; false undoes it"
    )


class NewApiKey(Request):
    """Create an API key."""

    name: KeyName = "default"
    scopes: Scopes | None = Field(
        None,
        description="what it may be used for: `read`, `submit` uploads and jobs, `manage` what "
        "exists and make keys, `admin` of the server, `metrics` of `/metrics`. By default all that "
        "its user's role and the key that makes it allow",
        json_schema_extra=without_default,
    )
    expires_at: Timestamp | None = Field(
        None,
        description="from when on it is refused. By default never, or with the key that makes it, "
        "if that is of the same user",
        json_schema_extra=without_default,
    )


class NewEnrolment(Request):
    """Make a one-time link with which a user makes a key."""

    scopes: Scopes | None = Field(
        None,
        description="what the key may be used for; by default as for a new key",
        json_schema_extra=without_default,
    )
    expires_at: Timestamp | None = Field(
        None,
        description="until when the link can be redeemed; by default QUIRE_ENROLMENT_DAYS from now",
        json_schema_extra=without_default,
    )


class RedeemedEnrolment(Request):
    """Redeem a one-time link."""

    token: str = Field(min_length=1, max_length=200, description="what follows the `#` in the link")
    name: KeyName = Field("default", description="what the key is for, such as a computer")


class SignIn(Request):
    """Sign a browser in, with a key or with a link's token."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="an API key"
    )
    link: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="the token of a sign-in link: what follows its `#`"
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.key is None) == (self.link is None):
            raise ValueError("must have either key or link. Give one of them")
        return self


def _cap(maximum: float, description: str) -> Any:
    return Field(
        None,
        ge=0,
        le=maximum,
        description=f"{description}; null for the server's default",
        json_schema_extra=without_default,
    )


class CapsUpdate(Request):
    """Change a user's share and caps. A field that is left out keeps its value."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    share: float = Field(
        1.0,
        gt=0,
        le=MAX_SHARE,
        allow_inf_nan=False,
        description="twice the share gets twice the device time while all users have jobs",
        json_schema_extra=without_default,
    )
    max_running: int | None = _cap(1000, "concurrent trainings")
    max_queued: int | None = _cap(1_000_000, "queued and paused jobs")
    max_device_seconds_per_day: float | None = _cap(1e9, "device seconds per day")
    max_stored_bytes: int | None = _cap(2**60, "bytes of corpora and checkpoints")
    max_corpora_bytes: int | None = _cap(2**60, "bytes of corpora")

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have a share or a cap")
        return self
