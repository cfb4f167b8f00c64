"""Jobs, their estimates, curves and histories. Fields that a newer server adds are kept."""

from datetime import datetime
from typing import Any

from quire.client.replies.base import ENDED, Problem, Reply
from quire.client.replies.texts import Text


class Progress(Reply):
    """The progress of a job. Losses are in nats per token."""

    step: int | None = None
    steps_total: int | None = None
    epoch: float | None = None
    epochs: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    learning_rate: float | None = None
    bits_per_char: float | None = None
    characters_per_second: float | None = None
    seconds_left: float | None = None


class QueuePosition(Reply):
    """The position of a queued job, and why it waits."""

    position: int | None = None
    starts_at: datetime | None = None
    reason: str = ""


class Estimate(Reply):
    """The estimated cost of a training."""

    memory_bytes: int
    seconds: float
    checkpoint_bytes: int
    steps: int | None = None
    characters_per_second: float
    measured: bool = False
    gpu_memory_bytes: int | None = None


class TrainDryRun(Reply):
    """What a training would be; nothing was stored. `queue` is its place in the line."""

    name: str
    spec: dict[str, Any]
    estimate: Estimate
    queue: QueuePosition


class Job(Reply):
    """A training or a generation."""

    id: str
    kind: str
    name: str | None = None
    status: str
    owner: str | None = None
    model: str | None = None
    corpus: str | None = None
    spec: dict[str, Any] = {}
    progress: Progress | None = None
    attempt: int = 0
    error: Problem | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    priority: str = "normal"
    after: str | None = None
    start_before: datetime | None = None
    deadline_seconds: float | None = None
    queue: QueuePosition | None = None
    texts: list[Text] | None = None
    checkpoints: dict[str, str | None] = {}

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ENDED


class Metric(Reply):
    """A point of the loss curves; `val_loss` is set where the model was validated."""

    step: int
    epoch: float
    loss: float | None = None
    val_loss: float | None = None
    bits_per_char: float | None = None
    piece_losses: list[float | None] | None = None
    learning_rate: float | None = None
    characters_per_second: float | None = None
    at: datetime


class Event(Reply):
    """An event in the history of a job."""

    id: int
    type: str
    attempt: int = 0
    data: dict[str, Any] = {}
    at: datetime
