"""What the server answers, typed. Fields that a newer server adds are kept as they are."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

#: A job in one of these never changes again.
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Reply(BaseModel):
    """The base of every answer; `as_json` is what the server said."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_json(self) -> dict[str, Any]:
        """The fields the server sent, ready for `json.dumps`."""
        return self.model_dump(mode="json", exclude_unset=True)


class FieldError(Reply):
    """One field of a request that the server refused."""

    field: str = ""
    value: Any = None
    message: str = ""


class Problem(Reply):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str = "Error"
    status: int | None = None
    detail: str = ""
    errors: list[FieldError] = []

    def line(self) -> str:
        """The whole problem in one readable line."""
        messages = [
            f"{error.field}: {error.message}" if error.field else error.message
            for error in self.errors
            if error.message and error.message not in self.detail
        ]
        text = "; ".join(part.strip() for part in [self.detail, *messages] if part.strip())
        whole = f"{self.title}: {text}" if text else self.title
        return " ".join(whole.split())


class Corpus(Reply):
    """A text to learn from."""

    id: str
    name: str
    visibility: str
    owner: str
    sha256: str | None = None
    bytes: int
    characters: int
    distinct_characters: int
    created_at: datetime


class Progress(Reply):
    """How far a job is. Losses are in nats per token."""

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


class Novelty(Reply):
    """What a text has from its corpus."""

    copied_characters: int
    copied: str
    known_grams: float | None = None

    def line(self) -> str:
        """``longest copy 18 characters, 54% of its 8-grams known``."""
        grams = "" if self.known_grams is None else f", {self.known_grams:.0%} of its 8-grams known"
        plural = "" if self.copied_characters == 1 else "s"
        return f"longest copy {self.copied_characters} character{plural}{grams}"


class Text(Reply):
    """A text that a model wrote."""

    id: str
    job: str
    model: str | None = None
    checkpoint: str | None = None
    prompt: str
    text: str
    temperature: float
    seed: int | None = None
    index: int | None = None
    finish_reason: str | None = None
    step: int | None = None
    epoch: float | None = None
    temperature_to: float | None = None
    echo: bool = False
    mean_logprob: float | None = None
    bits_per_char: float | None = None
    logprobs: list[float] | None = None
    novelty: Novelty | None = None
    created_at: datetime | None = None

    @property
    def whole(self) -> str:
        """Prompt and text."""
        return self.text if self.echo else self.prompt + self.text


class Place(Reply):
    """Where a queued job stands, and why it waits."""

    position: int | None = None
    starts_at: datetime | None = None
    reason: str = ""


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
    queue: Place | None = None
    texts: list[Text] | None = None
    checkpoints: dict[str, str | None] = {}

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in ENDED


class Metric(Reply):
    """One point of the loss curves; it has a `val_loss` where the network was judged."""

    step: int
    epoch: float
    loss: float | None = None
    val_loss: float | None = None
    bits_per_char: float | None = None
    learning_rate: float | None = None
    characters_per_second: float | None = None
    at: datetime


class Event(Reply):
    """One thing that happened to a job."""

    id: int
    type: str
    attempt: int = 0
    data: dict[str, Any] = {}
    at: datetime


class Checkpoint(Reply):
    """A saved state of a model."""

    id: str
    model: str
    job: str | None = None
    step: int
    epoch: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    bits_per_char: float | None = None
    digest: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    fingerprint: dict[str, Any] = {}
    created_at: datetime


class Model(Reply):
    """A network that learnt, or learns, from a corpus."""

    id: str
    name: str
    visibility: str
    owner: str
    corpus: str | None = None
    preset: str | None = None
    vocabulary_size: int | None = None
    job: str | None = None
    checkpoints: dict[str, Any] | None = None
    created_at: datetime
