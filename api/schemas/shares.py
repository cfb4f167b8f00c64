"""Share links: requests, paths and replies."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from api.schemas.fields import Id, Omittable, Timestamp, without_default
from api.schemas.jobs import JobReply
from api.schemas.replies import Reply
from api.schemas.requests import Request
from api.schemas.texts import TextReply


class SharedPath(BaseModel):
    """A path with the token of a share link."""

    token: str = Field(description="what follows the `#` in the link")


class NewShare(Request):
    """Make a link that shows one job or one text of yours to whoever has it."""

    job: Id | None = Field(
        None, description="the job that it shows", json_schema_extra=without_default
    )
    text: Id | None = Field(
        None, description="the text that it shows", json_schema_extra=without_default
    )
    expires_at: Timestamp | None = Field(
        None,
        description="until when; by default QUIRE_SHARE_DAYS from now",
        json_schema_extra=without_default,
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if (self.job is None) == (self.text is None):
            raise ValueError("must have one of job and text: a link shows one thing")
        return self


class ShareReply(Reply):
    """A share link."""

    id: str
    kind: Literal["job", "text"]
    job: str | None = Field(description="the job that it shows, if it shows one")
    text: str | None = Field(description="the text that it shows, if it shows one")
    created_at: datetime
    expires_at: datetime


class NewShareReply(ShareReply):
    """A new share link. Only this response shows it."""

    url: str | None = Field(description="the page that shows it; null in a replayed response")
    token: str | None = Field(description="for `/v1/shared/{token}`; null in a replayed response")


class SharedReply(Reply):
    """What a share link shows."""

    kind: Literal["job", "text"]
    owner: str = Field(description="the name of the user who shares it")
    expires_at: datetime
    job: Annotated[
        JobReply,
        Field(description="only of a job; its model, corpus and other jobs are not named"),
    ] = Omittable
    text: Annotated[TextReply, Field(description="only of a text; its model is not named")] = (
        Omittable
    )
