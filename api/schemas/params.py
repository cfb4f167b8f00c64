"""What the path and the query of a request may say. What is not here is refused."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.fields import DescribedVisibility, Id, Name, Read, Visibility
from shared.tables import Kind, Status

MAX_PAGE_ITEMS = 200
DEFAULT_PAGE_ITEMS = 50
#: As the databases' integers have it.
LARGEST_STEP = 2**31 - 1
MIN_POINTS = 10
MAX_POINTS = 2000


class Query(Read):
    """The base of every query: unknown fields are refused; numbers arrive as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IdPath(BaseModel):
    """A path with an id. Its form is not checked here: what is no id names nothing, a 404."""

    id: str = Field(json_schema_extra={"format": "uuid"})


class UserPath(BaseModel):
    """A path with a user."""

    user: str = Field(description="a user's name or id")


class KeyPath(BaseModel):
    """A path with an API key."""

    key: str = Field(description="a key's prefix (the 8 characters after `quire_`) or id")


class CheckpointPath(BaseModel):
    """A path with a model and one of its checkpoints."""

    id: str = Field(json_schema_extra={"format": "uuid"}, description="the model's id")
    checkpoint: str = Field(description="`best`, `latest` or a checkpoint's id")


# Lists.


class Page(Query):
    """Which page of a list."""

    limit: int = Field(DEFAULT_PAGE_ITEMS, ge=1, le=MAX_PAGE_ITEMS)
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the page before")


class NamedPage(Page):
    """A list of corpora or models, newest first."""

    name: Name | None = Field(None, description="exactly this name")
    visibility: Visibility | None = None


class JobsPage(Page):
    """A list of jobs, newest first."""

    kind: Kind | None = None
    status: Status | None = None
    model: Id | None = None
    name: Name | None = Field(None, description="exactly this name")


class MetricsPage(Page):
    """A loss curve, from its first step on."""

    after: int | None = Field(None, ge=0, le=LARGEST_STEP, description="only steps beyond this one")
    validation: bool | None = Field(
        None, description="only points that have a validation loss (true), or have none (false)"
    )
    points: int | None = Field(
        None,
        ge=MIN_POINTS,
        le=MAX_POINTS,
        description="thin the curve to so many points at most, all on one page: the first, the "
        "last, and between them the least and greatest losses; `limit` counts for nothing then",
    )


class HistoryPage(Page):
    """What happened to a job, in order."""

    after: int | None = Field(None, ge=0, le=LARGEST_STEP, description="only ids beyond this one")


class JobTextsPage(Page):
    """The texts of a job, in their order."""

    after: int | None = Field(
        None, ge=0, le=LARGEST_STEP, description="only texts of a training's steps beyond this one"
    )
    temperature: float | None = Field(
        None, ge=0, le=10, allow_inf_nan=False, description="only texts of this temperature"
    )


class TextsPage(Page):
    """A list of texts, newest first."""

    model: Id | None = None
    job: Id | None = None


class QueueQuery(Query):
    """How much of the line."""

    kind: Kind | None = None
    limit: int = Field(
        DEFAULT_PAGE_ITEMS, ge=1, le=MAX_PAGE_ITEMS, description="places of each kind"
    )


class UploadFields(Query):
    """What is said of a text that comes as bytes: in the query, or in the form beside `file`."""

    name: Name | None = Field(None, description="the file's name, or `untitled`, if not given")
    encoding: (
        Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[\w .:-]+$")]
        | None
    ) = Field(None, description="any text encoding that Python knows; UTF-8 if not given")
    visibility: DescribedVisibility = "private"
