"""What every request is made of, and the small ones. What is not named is refused."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.fields import DescribedVisibility, Id, Timestamp, Name, Priority, without_default
from shared.tables import Corpus, Model

MAX_DEADLINE_SECONDS = 366 * 24 * 3600


class Request(BaseModel):
    """The base of every JSON body: unknown fields and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class UploadJson(Request):
    """A text as JSON."""

    name: Name
    text: str = Field(min_length=1)
    visibility: DescribedVisibility = "private"


class ResourceUpdate(Request):
    """A new name, a new visibility, or both."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Name = Field("", json_schema_extra=without_default)
    visibility: DescribedVisibility = Field("private", json_schema_extra=without_default)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must have a name, a visibility, or both")
        return self

    def apply(self, row: Corpus | Model) -> None:
        """ResourceUpdate a row as the request says."""
        for field in self.model_fields_set:
            setattr(row, field, getattr(self, field))


class SchedulingOptions(Request):
    """When a job may run, and for how long."""

    priority: Priority = Field("normal", description="orders your own jobs of a kind only")
    after: Id | None = Field(
        None,
        description="a job of yours that this one waits for; where that fails, this one fails too",
    )
    start_before: Timestamp | None = Field(
        None, description="it fails if it has not started by this time"
    )
    deadline_seconds: float | None = Field(
        None,
        gt=0,
        le=MAX_DEADLINE_SECONDS,
        allow_inf_nan=False,
        description="it fails once it has run for so long; checkpoints and texts so far are kept",
    )
