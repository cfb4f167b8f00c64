"""What an answer says of a job and its course."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.schemas.fields import Priority, Omittable
from api.schemas.models import AliasesReply
from api.schemas.replies import Reply
from api.schemas.texts import TextReply
from shared.tables import Kind, Status


class JobErrorReply(Reply):
    """Why a job failed."""

    type: str
    title: str
    detail: str


class ProgressReply(Reply):
    """Where a training stands. Losses are in nats per token."""

    step: int
    steps_total: int
    epoch: float
    epochs: int | float = Field(description="at its end; a fraction where a budget decides")
    loss: float | None = None
    val_loss: float | None = None
    learning_rate: float | None = None
    characters_per_second: float | None = None
    seconds_left: float | None = None
    bits_per_char: float | None = Field(None, description="of val_loss; compares across tokenizers")


class EstimateReply(Reply):
    """What a training was expected to take when it was submitted."""

    memory_bytes: int = Field(description="of its worker, at most")
    seconds: float
    checkpoint_bytes: int
    steps: int | None = Field(
        description="null where a budget decides; of a training on words at most, since how many "
        "there are shows later"
    )
    characters_per_second: float
    measured: bool = Field(description="whether the speed is that of earlier trainings like it")


class PlaceReply(Reply):
    """Where a queued job stands, and why it waits."""

    position: int | None = Field(description="1 runs next; null while it waits for another job")
    starts_at: datetime | None = Field(description="an estimate; null where there is none")
    reason: str


class JobReply(Reply):
    """One thing somebody asked for. It can be seen by whoever asked, and nobody else."""

    id: str
    kind: Kind
    name: str
    status: Status
    owner: str
    model: str | None
    corpus: str | None
    spec: dict[str, Any] = Field(description="with everything decided")
    progress: ProgressReply | None
    attempt: int
    error: JobErrorReply | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    pause_requested: bool
    priority: Priority
    after: str | None = Field(description="the job that this one comes after")
    start_before: datetime | None
    deadline_seconds: float | None
    queue: Annotated[PlaceReply, Field(description="of a queued job")] = Omittable
    texts: Annotated[
        list[TextReply],
        Field(description="of a generation that ended, as far as there are any"),
    ] = Omittable
    checkpoints: Annotated[AliasesReply, Field(description="of a training")] = Omittable
    estimate: Annotated[EstimateReply, Field(description="of a training")] = Omittable
    exact: Annotated[
        bool,
        Field(
            description="of a training: whether its checkpoints are what one process of the same "
            "versions, processor and threads makes without a stop"
        ),
    ] = Omittable


class PromotedJobReply(Reply):
    """A job that goes before all others; an admin sees no more of somebody else's."""

    id: str
    kind: Kind
    status: Status


class MetricReply(Reply):
    """One point of the loss curves. Losses are in nats per token."""

    step: int
    epoch: float
    loss: float | None = Field(description="of training: the mean since the point before")
    val_loss: float | None = Field(description="of the held-out text, where it was measured here")
    bits_per_char: float | None = Field(description="of val_loss; compares across tokenizers")
    learning_rate: float | None
    characters_per_second: float | None
    at: datetime


class EventReply(Reply):
    """One thing that happened to a job."""

    id: int
    type: str
    attempt: int
    data: dict[str, Any]
    at: datetime
