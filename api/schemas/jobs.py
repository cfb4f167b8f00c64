"""Replies about jobs, their progress and their history."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.schemas.fields import Omittable, Priority
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
    """The progress of a training. Losses are in nats per token."""

    step: int
    steps_total: int
    epoch: float
    epochs: int | float = Field(description="at the end; a fraction if a budget ends the training")
    loss: float | None = None
    val_loss: float | None = None
    learning_rate: float | None = None
    characters_per_second: float | None = None
    seconds_left: float | None = None
    bits_per_char: float | None = Field(
        None, description="from val_loss; comparable across tokenizers"
    )


class EstimateReply(Reply):
    """The estimated cost of a training, made when it was submitted."""

    memory_bytes: int = Field(description="peak of the worker's process")
    seconds: float
    checkpoint_bytes: int
    steps: int | None = Field(
        description="null if a budget ends the training; an upper bound with the tokenizer `word`, "
        "whose tokens are counted later"
    )
    characters_per_second: float
    measured: bool = Field(description="whether the speed was measured in similar trainings")
    gpu_memory_bytes: int | None = Field(
        None, description="peak on a GPU; null if trainings run on a CPU here"
    )


class PlaceReply(Reply):
    """The place of a queued job, and why it waits."""

    position: int | None = Field(
        description="1 starts next; null while the job waits for another job"
    )
    starts_at: datetime | None = Field(description="an estimate; null if unknown")
    reason: str


class TrainDryRunReply(Reply):
    """What a training would be; nothing was stored."""

    name: str = Field(description="of the model and the job")
    spec: dict[str, Any] = Field(description="with all defaults resolved")
    estimate: EstimateReply
    queue: PlaceReply = Field(description="its place if it was submitted now")


class JobReply(Reply):
    """A job. Only its owner can see it."""

    id: str
    kind: Kind
    name: str
    status: Status
    owner: str
    model: str | None
    corpus: str | None = Field(description="null if you may not see it, or it was deleted")
    spec: dict[str, Any] = Field(description="with all defaults resolved")
    progress: ProgressReply | None
    attempt: int
    error: JobErrorReply | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    pause_requested: bool
    priority: Priority
    after: str | None = Field(description="the job that this one waits for")
    start_before: datetime | None
    deadline_seconds: float | None
    queue: Annotated[PlaceReply, Field(description="only if queued")] = Omittable
    texts: Annotated[
        list[TextReply],
        Field(description="only of an ended generation: the texts that were written"),
    ] = Omittable
    checkpoints: Annotated[AliasesReply, Field(description="only of a training")] = Omittable
    estimate: Annotated[EstimateReply, Field(description="only of a training")] = Omittable
    exact: Annotated[
        bool,
        Field(
            description="only of a training: whether its checkpoints are bit-identical to those of "
            "one uninterrupted process with the same versions, processor and threads"
        ),
    ] = Omittable


class PromotedJobReply(Reply):
    """A promoted job. An admin sees no more of another user's job."""

    id: str
    kind: Kind
    status: Status


class MetricReply(Reply):
    """One point of the loss curves. Losses are in nats per token."""

    step: int
    epoch: float
    loss: float | None = Field(description="training loss: the mean since the point before")
    val_loss: float | None = Field(
        description="validation loss; null if there was no validation at this step"
    )
    bits_per_char: float | None = Field(description="from val_loss; comparable across tokenizers")
    piece_losses: list[float | None] | None = Field(
        description="validation loss of each held-out piece, in the order of the text; the job's "
        "history says where they lie (event `held_out`). Null for a piece without a window, and if "
        "there was no validation at this step"
    )
    learning_rate: float | None
    characters_per_second: float | None
    at: datetime


class EventReply(Reply):
    """One event in a job's history."""

    id: int
    type: str
    attempt: int
    data: dict[str, Any]
    at: datetime
