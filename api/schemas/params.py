"""Path and query parameters. Unknown query parameters are refused."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.fields import (
    DescribedFirstVisibility,
    Id,
    Name,
    RequestPart,
    Timestamp,
    Visibility,
)
from api.schemas.headers import EventIds
from shared.audit import Action
from shared.tables import Kind, Status
from shared.texts.decoding import OnInvalid
from shared.texts.encodings import ENCODINGS
from shared.texts.items import ItemsShape

MAX_PAGE_ITEMS = 200
DEFAULT_PAGE_ITEMS = 50
#: The largest integer of the databases' INTEGER columns.
LARGEST_STEP = 2**31 - 1
MAX_FOLLOWED_JOBS = 16
MIN_POINTS = 10
MAX_POINTS = 2000


class Query(RequestPart):
    """The base of every query: unknown parameters are refused, and numbers arrive as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IdPath(BaseModel):
    """A path with an id. A malformed id is not a validation error but a 404."""

    id: str = Field(json_schema_extra={"format": "uuid"})


class UserPath(BaseModel):
    """A path with a user."""

    user: str = Field(description="a user's name or id")


class KeyPath(BaseModel):
    """A path with an API key."""

    key: str = Field(description="a key's prefix (the 8 characters after `quire_`) or id")


class SessionPath(BaseModel):
    """A path with a browser's session."""

    session: str = Field(json_schema_extra={"format": "uuid"}, description="a session's id")


class CheckpointPath(BaseModel):
    """A path with a model and one of its checkpoints."""

    id: str = Field(json_schema_extra={"format": "uuid"}, description="the model's id")
    checkpoint: str = Field(description="`best`, `latest` or a checkpoint's id")


# Lists.


class Page(Query):
    """The page of a list."""

    limit: int = Field(DEFAULT_PAGE_ITEMS, ge=1, le=MAX_PAGE_ITEMS)
    cursor: str | None = Field(
        None, max_length=400, description="`next_cursor` of the previous page"
    )


class NamedPage(Page):
    """A list of corpora or models, newest first."""

    name: Name | None = Field(None, description="exact name")
    visibility: Visibility | None = None
    deleted: bool = Field(
        False, description="those of yours that were deleted and can be restored, and no others"
    )


class DeletionQuery(Query):
    """How a corpus or a model is deleted."""

    purge: bool = Field(
        False,
        description="delete it for good at once, even if it is deleted already: nobody can restore "
        "it, and its bytes no longer count",
    )


class JobsPage(Page):
    """A list of jobs, newest first."""

    kind: Kind | None = None
    status: Status | None = None
    model: Id | None = None
    name: Name | None = Field(None, description="exact name")


class MetricsPage(Page):
    """A loss curve, from its first step on."""

    after: int | None = Field(None, ge=0, le=LARGEST_STEP, description="only later steps")
    validation: bool | None = Field(
        None, description="only points with a validation loss (true) or without one (false)"
    )
    points: int | None = Field(
        None,
        ge=MIN_POINTS,
        le=MAX_POINTS,
        description="thin the curve to at most this many points on one page: the first, the last, "
        "and the minima and maxima in between. `limit` is then ignored",
    )


class HistoryPage(Page):
    """The history of a job, oldest event first."""

    after: int | None = Field(None, ge=0, le=LARGEST_STEP, description="only later ids")


class JobTextsPage(Page):
    """The texts of a job, in order."""

    after: int | None = Field(
        None, ge=0, le=LARGEST_STEP, description="only texts of later training steps"
    )
    temperature: float | None = Field(
        None, ge=0, le=10, allow_inf_nan=False, description="only texts of this temperature"
    )


class TextsPage(Page):
    """A list of texts, newest first."""

    model: Id | None = None
    job: Id | None = None
    kept: bool | None = Field(None, description="only those that you keep, or do not keep")


class AuditPage(Page):
    """What was done, newest first."""

    action: Action | None = None
    user: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="the name of a user who did it, or whom it concerns"
    )
    address: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="from where it was done"
    )
    key_prefix: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{8}$")] | None = Field(
        None, description="the prefix of the key that it was done with"
    )
    since: Timestamp | None = Field(None, description="not what was done before this time")


class TrainQuery(Query):
    """The query of a training."""

    dry_run: bool = Field(
        False,
        description="say what the training would be, what it would take and when it would start, "
        "and store nothing",
    )


class EventsQuery(Query):
    """The jobs to follow in one stream."""

    jobs: str = Field(
        min_length=1,
        max_length=1000,
        description=f"the ids of up to {MAX_FOLLOWED_JOBS} of your jobs, separated by commas",
    )
    after: EventIds | None = Field(
        None,
        description="the `id` of the last event received, for clients that can't send a header; "
        "`Last-Event-ID` goes before it",
    )


class QueueQuery(Query):
    """The part of the queue to list."""

    kind: Kind | None = None
    limit: int = Field(
        DEFAULT_PAGE_ITEMS, ge=1, le=MAX_PAGE_ITEMS, description="entries per kind of job"
    )


class UploadFields(Query):
    """Fields of an upload: in the query for raw bytes, or in the form next to `file`."""

    name: Name | None = Field(None, description="the file's name by default, or `untitled`")
    encoding: (
        Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[\w .:-]+$")]
        | None
    ) = Field(
        None,
        description="the encoding of the bytes: one of "
        f"{', '.join(ENCODINGS)}. By default that of a byte order mark, or else UTF-8",
    )
    on_invalid: OnInvalid = Field(
        "refuse",
        description="what to do with bytes that are not in the encoding: `refuse` the upload, "
        "`replace` each by U+FFFD, or `drop` them",
    )
    normalize: Literal["nfc", "nfd"] | None = Field(
        None,
        description="bring the text to this normal form of Unicode, in which an accented letter is "
        "always written in the same way",
    )
    items: ItemsShape | None = Field(
        None,
        description="the text is a list of items, which a model learns one by one: one a line "
        "(`lines`), with blank lines between them (`blank`), with the string `separator` between "
        "them, in the `column` of a table (CSV, TSV or JSON lines), or one per file (`files`)",
    )
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = Field(
        None, description="what stands between two items (items: separator)"
    )
    column: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None,
        description="the column with the items: its name, or its number from 1 on (items: column)",
    )
    visibility: DescribedFirstVisibility = "private"


class UploadQuery(UploadFields):
    """The query of an upload."""

    dry_run: bool = Field(
        False,
        description="say what the text would be, and keep nothing. The only field that is allowed "
        "in the query with every kind of body",
    )
