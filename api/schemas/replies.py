"""What an answer says."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.fields import Kind, Priority, Role, Status, Visibility
from shared.presets import Tokenizer


class Reply(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(frozen=True)


Item = TypeVar("Item", bound=Reply)


class Listing(Reply, Generic[Item]):
    """A page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None


class FieldError(Reply):
    """One field that was refused."""

    field: str
    value: Any = None
    message: str


class Problem(Reply):
    """RFC 9457: what went wrong, and the way out."""

    type: str
    title: str
    status: int | None = None
    detail: str
    errors: list[FieldError] = []


class Failure(Reply):
    """Why a job failed."""

    type: str
    title: str
    detail: str


class CorpusReply(Reply):
    """A text to learn from."""

    id: str
    name: str
    visibility: Visibility
    owner: str
    sha256: str = Field(description="of the text as it is kept: UTF-8, no BOM, LF")
    bytes: int
    characters: int
    distinct_characters: int
    encoding: str = Field(description="as it was uploaded")
    created_at: datetime


def _no_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


#: Left out where it does not apply.
Sometimes: Any = Field(default=None, json_schema_extra=_no_default)


class LineageReply(Reply):
    """Where something comes from: corpus, training, model, checkpoint.

    What was deleted, or is somebody else's to see, is null.
    """

    corpus: str | None
    corpus_sha256: str | None
    job: str | None = Field(description="the training")
    model: str | None
    checkpoint: str | None
    step: int | None
    checkpoint_sha256: str | None = Field(description="of the file")
    digest: str | None = Field(description="SHA-256 over all variables and the loop's state")
    exact: bool | None
    from_checkpoint: str | None = Field(description="where the training began; it has its own")


class NoveltyReply(Reply):
    """What a text has from its corpus, read as the network read it (lower-cased if it was)."""

    copied_characters: int = Field(
        description="length of its longest piece that stands in the corpus word for word"
    )
    copied: str = Field(description="that piece; of several as long the first")
    copied_from: int | None = Field(
        description="where in the corpus it stands first, in characters; null where nothing is"
    )
    known_grams: float | None = Field(
        description="share of its pieces of 8 characters that occur in the corpus; null for a "
        "shorter text"
    )


class TextReply(Reply):
    """A text that a network wrote."""

    id: str
    job: str
    model: str | None = Field(description="null once the model was deleted")
    checkpoint: str | None
    owner: str
    prompt: str
    text: str
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    index: int = Field(description="its place in the job: by temperature, then by `n`")
    finish_reason: str = Field(
        description="`length`, `stop`, `deadline`, `cancelled` (as far as it was written), or "
        "`scored` for a text that was only read"
    )
    temperature_to: float | None = Field(description="at the end, where a schedule changed it")
    repetition_penalty: float
    echo: bool = Field(description="whether `text` begins with `prompt`")
    mean_logprob: float | None = Field(
        description="of what was written, or read, in nats per character: under the network's own "
        "distribution, before temperature and limits"
    )
    bits_per_char: float | None = Field(description="the same, in bits")
    logprobs: list[float] | None = Field(description="of each character, where asked for")
    epoch: float | None = Field(description="of the training that wrote it as a sample")
    step: int | None = Field(description="of the training that wrote it as a sample")
    requested: bool = Field(description="false for a sample written while a network learned")
    novelty: NoveltyReply | None = Field(
        description="of the text without its prompt; null where the corpus was gone, or longer "
        "than 8,000,000 characters"
    )
    created_at: datetime
    lineage: Annotated[LineageReply, Field(description="of a text that is read alone")] = Sometimes


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


class AliasesReply(Reply):
    """The ids of the checkpoints that `best` and `latest` mean now."""

    best: str | None
    latest: str | None


class EstimateReply(Reply):
    """What a training was expected to take when it was submitted."""

    memory_bytes: int = Field(description="of its worker, at most")
    seconds: float
    checkpoint_bytes: int
    steps: int | None = Field(description="null where a budget decides")
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
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    pause_requested: bool
    priority: Priority
    after: str | None = Field(description="the job that this one comes after")
    start_before: datetime | None
    deadline_seconds: float | None
    queue: Annotated[PlaceReply, Field(description="of a queued job")] = Sometimes
    texts: Annotated[
        list[TextReply],
        Field(description="of a generation that ended, as far as there are any"),
    ] = Sometimes
    checkpoints: Annotated[AliasesReply, Field(description="of a training")] = Sometimes
    estimate: Annotated[EstimateReply, Field(description="of a training")] = Sometimes
    exact: Annotated[
        bool,
        Field(
            description="of a training: whether its checkpoints are what one process of the same "
            "versions, processor and threads makes without a stop"
        ),
    ] = Sometimes


class LiftReply(Reply):
    """A job that goes before all others; an admin sees no more of somebody else's."""

    id: str
    kind: Kind
    status: Status


class LaneReply(Reply):
    """The line of one kind of job."""

    kind: Kind
    workers: int = Field(description="that are up")
    running: int
    queued: int = Field(description="that could run; those that wait for other jobs do not count")
    users: int = Field(description="who wait")
    slice_seconds: float = Field(description="about how long a worker is held at a time")


class TurnReply(Reply):
    """One place in a line."""

    kind: Kind
    position: int
    starts_at: datetime | None
    mine: bool
    job: str | None = Field(description="null where it is not yours")
    name: str | None = Field(description="null where it is not yours")
    user: str | None = Field(description="null where it is not yours and you are no admin")


class QueueReply(Reply):
    """The lines, and who stands where in them."""

    lanes: list[LaneReply]
    line: list[TurnReply]


class CapReply(Reply):
    """How much of something a user has, and may have."""

    used: float
    cap: float | None = Field(description="null where there is none")
    own: bool = Field(description="whether an admin set it; else it is the server's default")


class UsageReply(Reply):
    """What a user has used, and may use."""

    user: str
    share: float
    served_seconds: float = Field(description="device time charged so far; what is old counts less")
    share_served: float = Field(description="of all that everybody was served, from 0 to 1")
    running: CapReply
    queued: CapReply
    device_seconds_today: CapReply
    stored_bytes: CapReply
    corpora_bytes: CapReply
    day_ends_at: datetime


class MetricReply(Reply):
    """One point of the loss curves. Losses are in nats per character."""

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


class ModelReply(Reply):
    """What one training makes."""

    id: str
    name: str
    visibility: Visibility
    owner: str
    corpus: str | None = Field(description="null where you may not see it")
    corpus_sha256: str | None = Field(description="null where you may not see it")
    from_checkpoint: str | None = Field(
        description="where its training began; null where you may not see it"
    )
    preset: str
    spec: dict[str, Any]
    tokenizer: Tokenizer
    vocabulary_size: int | None = Field(
        description="tokens; null until the training has chosen its words (tokenizer: word)"
    )
    characters_per_token: float | None = Field(
        description="in the held-out tail; 1 where tokens are characters, null until it is known"
    )
    job: str | None = Field(description="its training; null where you may not see it")
    checkpoints: AliasesReply
    created_at: datetime


class CheckpointReply(Reply):
    """A network at one step."""

    id: str
    model: str
    job: str | None = Field(description="its training; null where you may not see it")
    step: int
    epoch: float
    loss: float | None
    val_loss: float | None
    bits_per_char: float | None = Field(
        description="val_loss / ln 2 / characters per token; compares across tokenizers"
    )
    digest: str = Field(description="SHA-256 over all variables and the loop's state")
    sha256: str = Field(description="of the file")
    bytes: int
    fingerprint: dict[str, Any]
    exact: bool = Field(description="whether all of it was computed under one fingerprint")
    created_at: datetime
    lineage: Annotated[LineageReply, Field(description="of one that is read alone")] = Sometimes


class DeviceReply(Reply):
    """A worker, as it last showed itself."""

    id: str
    host: str
    device: str
    lane: Kind
    gpu_name: str | None
    gpu_uuid: str | None
    versions: dict[str, Any]
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    alive: bool
    ready: bool
    current_job: str | None = Field(description="null also where the job is not yours")


class UserReply(Reply):
    """A person."""

    id: str
    name: str
    role: Role
    created_at: datetime


class MeReply(Reply):
    """Whose key this is."""

    id: str
    name: str
    role: Role


class KeyReply(Reply):
    """An API key, without the key."""

    id: str
    prefix: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


class NewKeyReply(Reply):
    """An API key at the only moment when it is whole."""

    id: str
    prefix: str
    name: str
    key: str | None = Field(description="shown once; null where a replay repeats the answer")
    created_at: datetime


class LiveReply(Reply):
    """The process answers."""

    status: Literal["ok"]


class ReadyReply(Reply):
    """Which parts the API can reach."""

    status: Literal["ok", "unavailable"]
    database: str
    redis: str
