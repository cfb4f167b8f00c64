"""Requests of those who run the server: drain a worker, announce something."""

from pydantic import Field

from api.schemas.fields import Timestamp, without_default
from api.schemas.requests import Request
from shared.tables import AnnouncementLevel


class Drain(Request):
    """Ask workers to return their jobs to the queue and to take no more."""

    host: str = Field(min_length=1, max_length=100, description="as `GET /v1/devices` shows it")
    device: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="one device of the host, such as `cpu` or `gpu:0`; by default all",
        json_schema_extra=without_default,
    )


class NewAnnouncement(Request):
    """Tell all users something. It takes the place of what was announced before."""

    text: str = Field(min_length=1, max_length=500, description="one or two sentences")
    level: AnnouncementLevel = Field("info", description="`warning` is shown more clearly")
    ends_at: Timestamp | None = Field(
        None,
        description="when it goes by itself; by default never",
        json_schema_extra=without_default,
    )
