"""The base of request bodies, and the small ones. Unknown fields are refused."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.schemas.fields import (
    DescribedFirstVisibility,
    DescribedVisibility,
    Id,
    Name,
    Priority,
    Timestamp,
    without_default,
)
from shared.texts.items import ItemsShape

MAX_DEADLINE_SECONDS = 366 * 24 * 3600
MAX_NOTE_CHARACTERS = 2000
EXCERPTS = (
    "whether models trained on this corpus show pieces of it to users who may not read it: as "
    "random prompts, and by the place of what a text copies"
)


class Request(BaseModel):
    """The base of every JSON body. Unknown fields and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class UploadJson(Request):
    """Upload a text as JSON."""

    name: Name
    text: str = Field(min_length=1)
    normalize: Literal["nfc", "nfd"] | None = Field(
        None, description="bring the text to this normal form of Unicode"
    )
    items: ItemsShape | None = Field(None, description="as for an upload of a file")
    separator: str | None = Field(
        None, min_length=1, max_length=1000, description="as for an upload of a file"
    )
    column: str | None = Field(
        None, min_length=1, max_length=200, description="as for an upload of a file"
    )
    visibility: DescribedFirstVisibility = "private"


class ResourceUpdate(Request):
    """Change the name, the visibility, or both."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Name = Field("", json_schema_extra=without_default)
    visibility: DescribedVisibility = Field("private", json_schema_extra=without_default)
    group: Annotated[Name, Field(max_length=100)] = Field(
        "",
        description="the name or id of a group that you are in; with `visibility: group` only",
        json_schema_extra=without_default,
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"must have one of {', '.join(type(self).model_fields)}")
        with_group = self.visibility == "group" and "visibility" in self.model_fields_set
        if with_group != ("group" in self.model_fields_set):
            raise ValueError("must have both `visibility: group` and `group`, or neither")
        return self


class TextUpdate(Request):
    """Keep a text, with a note or without one, or keep it no longer."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    kept: bool = Field(
        True,
        description="whether you keep the text; one that is no longer kept loses its note",
        json_schema_extra=without_default,
    )
    note: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NOTE_CHARACTERS)] | None = (
        Field(
            None,
            description="why you keep it; a text with a note is kept. null removes the note",
            json_schema_extra=without_default,
        )
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have one of kept, note")
        if self.note is not None and not self.kept:
            raise ValueError("must not have a note with `kept: false`: a text with a note is kept")
        return self


class CorpusUpdate(ResourceUpdate):
    """Change the name, the visibility, or whether models show excerpts."""

    allow_excerpts: bool = Field(
        False,
        description=EXCERPTS,
        json_schema_extra=without_default,
    )


class SchedulingOptions(Request):
    """When a job may run, and for how long."""

    priority: Priority = Field("normal", description="orders your own jobs of one kind")
    after: Id | None = Field(
        None,
        description="your job that this one waits for. If that one fails, this one fails too",
    )
    start_before: Timestamp | None = Field(
        None, description="fail the job if it has not started by this time"
    )
    deadline_seconds: float | None = Field(
        None,
        gt=0,
        le=MAX_DEADLINE_SECONDS,
        allow_inf_nan=False,
        description="fail the job after it has run this long; its checkpoints and texts are kept",
    )
