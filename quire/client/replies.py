"""The replies about jobs, models and corpora. Fields that a newer server adds are kept."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: The final statuses of a job.
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Reply(BaseModel):
    """The base of every reply."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_json(self) -> dict[str, Any]:
        """Return the fields that the server sent, ready for `json.dumps`."""
        return self.model_dump(mode="json", exclude_unset=True)


class FieldError(Reply):
    """An invalid field of a request."""

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
    code: str | None = None
    ways: list[str] = []

    def line(self) -> str:
        """Return the problem as one readable line."""
        messages = [
            f"{error.field}: {error.message}" if error.field else error.message
            for error in self.errors
            if error.message and error.message not in self.detail
        ]
        text = "; ".join(part.strip() for part in [self.detail, *messages] if part.strip())
        whole = f"{self.title}: {text}" if text else self.title
        return " ".join(whole.split())


class Finding(Reply):
    """Something that the server saw in a text."""

    code: str
    message: str
    ways: list[str] = []


class Items(Reply):
    """The items of a corpus that is a list."""

    shape: str
    count: int
    median: int
    longest: int


class Corpus(Reply):
    """A text that models are trained on."""

    id: str
    name: str
    visibility: str
    group: str | None = None
    owner: str
    sha256: str | None = None
    bytes: int
    characters: int
    distinct_characters: int
    allow_excerpts: bool = False
    findings: list[Finding] = []
    items: Items | None = None
    created_at: datetime
    deleted_at: datetime | None = None
    purge_at: datetime | None = None


class DryRun(Reply):
    """What an upload would store; nothing of it was kept."""

    name: str
    sha256: str
    bytes: int
    characters: int
    distinct_characters: int
    encoding: str
    excerpt: str = ""
    alphabet: str = ""
    findings: list[Finding] = []
    items: Items | None = None


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


class Novelty(Reply):
    """How much of a text was copied from its corpus."""

    copied_characters: int
    copied: str
    known_grams: float | None = None

    def line(self) -> str:
        """Return it as ``longest copy 18 characters, 54% of its 8-grams known``."""
        grams = "" if self.known_grams is None else f", {self.known_grams:.0%} of its 8-grams known"
        plural = "" if self.copied_characters == 1 else "s"
        return f"longest copy {self.copied_characters} character{plural}{grams}"


class LikelyToken(Reply):
    """A token that could have stood there, too."""

    token: str
    logprob: float


class CopiedSpan(Reply):
    """A piece of a text that stands in the corpus; `source` is the reply's `from`."""

    model_config = ConfigDict(serialize_by_alias=True)

    start: int
    length: int
    source: int = Field(alias="from")


class NextToken(Reply):
    """A token that may follow."""

    token: str
    probability: float
    logprob: float | None = None


class NextTokens(Reply):
    """Which tokens may follow a prompt at one temperature, the likeliest first."""

    temperature: float
    entropy_bits: float
    rest: float
    tokens: list[NextToken]


class Text(Reply):
    """A generated text.

    Attributes:
        is_copy: The reply's `copy`: whether it is, prompt included, an item of the corpus. None
            for a text that is no item.
    """

    model_config = ConfigDict(serialize_by_alias=True)

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
    tokens: list[str] | None = None
    top_logprobs: list[list[LikelyToken]] | None = None
    copied_spans: list[CopiedSpan] | None = None
    next: list[NextTokens] | None = None
    kept: bool = False
    note: str | None = None
    novelty: Novelty | None = None
    is_copy: bool | None = Field(None, alias="copy")
    created_at: datetime | None = None

    @property
    def whole(self) -> str:
        """The prompt and the text."""
        return self.text if self.echo else self.prompt + self.text


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


class Checkpoint(Reply):
    """A saved training state of a model."""

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
    """A network that was, or is being, trained on a corpus."""

    id: str
    name: str
    visibility: str
    group: str | None = None
    owner: str
    corpus: str | None = None
    preset: str | None = None
    vocabulary_size: int | None = None
    job: str | None = None
    checkpoints: dict[str, Any] | None = None
    created_at: datetime
    deleted_at: datetime | None = None
    purge_at: datetime | None = None


class Share(Reply):
    """A link that shows one job or one text to whoever has it."""

    id: str
    kind: str
    job: str | None = None
    text: str | None = None
    created_at: datetime
    expires_at: datetime


class NewShare(Share):
    """A new share link; only its creation shows `url` and `token`."""

    url: str | None = None
    token: str | None = None


class Shared(Reply):
    """What a share link shows."""

    kind: str
    owner: str
    expires_at: datetime
    job: Job | None = None
    text: Text | None = None
