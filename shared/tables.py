"""The tables, typed. Invariants are constraints wherever a database can hold them."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.clock import new_id

KINDS = ("train", "generate")
STATUSES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")
#: A job in one of these never changes again.
TERMINAL_STATUSES = ("succeeded", "failed", "cancelled")
VISIBILITIES = ("private", "server")
ROLES = ("admin", "member")
#: Of a user's own jobs the one with the least number runs first.
PRIORITIES = {"high": -1, "normal": 0, "low": 1}
SHA256_CHARACTERS = 64
CHUNK_BYTES = 1024 * 1024


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which knows no zones, keeps it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone: it could mean any."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give every time back with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
RowNumber = BigInteger().with_variant(Integer(), "sqlite")
Id = Uuid(as_uuid=False)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


#: What the partial indexes of `jobs` hold. A statement that is to use one says it in the same
#: words: neither database proves that others mean the same.
RUNNABLE = "status = 'queued' AND blocked_by IS NULL"
RUNNING = "status = 'running'"
WAITING = "status IN ('queued', 'paused')"
LIFTED = "lifted_at IS NOT NULL AND status = 'queued'"
BLOCKED = "blocked_by IS NOT NULL"
MUST_START = f"start_before IS NOT NULL AND started_at IS NULL AND {WAITING}"
SUCCEEDED = "status = 'succeeded'"


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


class Base(DeclarativeBase):
    """One naming rule for constraints, so that every migration can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own form
        datetime: UtcDateTime,
        date: Date,
        dict[str, Any]: Json,
    }


class User(Base):
    """A person, and what they may use.

    `served_seconds` is the device time charged to them, decayed to `served_at`. A cap of their
    own is null where the settings' default holds (shared/caps.py).
    """

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[str] = mapped_column(String(10))
    share: Mapped[float] = mapped_column(default=1.0, server_default="1")
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    max_device_seconds_per_day: Mapped[float | None]
    max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_corpora_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: Device time on the day `used_on` (UTC), settled; what runs comes on top.
    used_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    used_on: Mapped[date | None]
    served_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    served_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(_one_of("role", ROLES), name="role"),
        CheckConstraint("share > 0", name="share"),
    )


class ApiKey(Base):
    """A key's prefix and hash. The key itself is shown once and kept nowhere."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(8), unique=True)
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Blob(Base):
    """Bytes named by their SHA-256. `touched_at` is when somebody last stored or needed them."""

    __tablename__ = "blobs"
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[datetime] = mapped_column(index=True)


class BlobChunk(Base):
    """One piece of a blob, `CHUNK_BYTES` or less."""

    __tablename__ = "blob_chunks"
    sha256: Mapped[str] = mapped_column(
        ForeignKey("blobs.sha256", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (CheckConstraint("position >= 0", name="position"),)


class Corpus(Base):
    """A text as people train on it: UTF-8, without a BOM, lines ended by LF."""

    __tablename__ = "corpora"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    visibility: Mapped[str] = mapped_column(String(10), default="private")
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    encoding: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInteger)
    characters: Mapped[int] = mapped_column(BigInteger)
    alphabet: Mapped[str] = mapped_column(Text, deferred=True)
    alphabet_lowercase: Mapped[str] = mapped_column(Text, deferred=True)
    distinct_characters: Mapped[int]
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(_one_of("visibility", VISIBILITIES), name="visibility"),
        CheckConstraint("characters > 0", name="characters"),
    )


class Model(Base):
    """What one training makes: a vocabulary, a network's numbers, and its checkpoints."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    visibility: Mapped[str] = mapped_column(String(10), default="private")
    corpus_id: Mapped[str] = mapped_column(ForeignKey("corpora.id"), index=True)
    spec: Mapped[dict[str, Any]]
    #: Its characters; the words of `tokenizer: "word"` are in the checkpoints.
    vocabulary: Mapped[str] = mapped_column(Text, deferred=True)
    #: Tokens: the characters alone until the training has chosen the words.
    vocabulary_size: Mapped[int]
    #: Of the held-out tail; 1 for `tokenizer: "char"`, null until the words are chosen.
    characters_per_token: Mapped[float | None]
    #: Where its training began; the id stays when the checkpoint itself is gone.
    from_checkpoint_id: Mapped[str | None] = mapped_column(Id, index=True)
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(_one_of("visibility", VISIBILITIES), name="visibility"),
        CheckConstraint("vocabulary_size > 0", name="vocabulary_size"),
    )


class Job(Base):
    """One thing somebody asked for. `status` is written in shared/queue/ only."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(10), default="queued")
    name: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    spec: Mapped[dict[str, Any]]
    model_id: Mapped[str | None] = mapped_column(
        ForeignKey("models.id", ondelete="SET NULL"), index=True
    )
    corpus_id: Mapped[str | None] = mapped_column(
        ForeignKey("corpora.id", ondelete="SET NULL"), index=True
    )
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Attempts since the last newer checkpoint or committed text.
    fruitless_attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Its worker died while it ran others beside it: it shares a batch with nobody any more.
    alone: Mapped[bool] = mapped_column(default=False, server_default=false())
    charged_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    #: Time that it has run, over all its attempts that are over.
    ran_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    worker_id: Mapped[str | None] = mapped_column(String(200))
    lease_expires_at: Mapped[datetime | None]
    #: What it was expected to take when it was submitted; of a training.
    estimate: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    yield_requested_at: Mapped[datetime | None]
    #: An admin put it above all others.
    lifted_at: Mapped[datetime | None]
    #: The job that it was to come after, and the same again for as long as it has to wait for
    #: that. No foreign keys: SQLite could add or drop them only by copying the whole table.
    after_job_id: Mapped[str | None] = mapped_column(Id)
    blocked_by: Mapped[str | None] = mapped_column(Id)
    start_before: Mapped[datetime | None]
    deadline_seconds: Mapped[float | None]

    __table_args__ = (
        CheckConstraint(_one_of("kind", KINDS), name="kind"),
        CheckConstraint(_one_of("status", STATUSES), name="status"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint(
            "(status = 'running') = (lease_expires_at IS NOT NULL)", name="running_has_a_lease"
        ),
        CheckConstraint(
            f"({_one_of('status', TERMINAL_STATUSES)}) = (finished_at IS NOT NULL)",
            name="ended_has_an_end",
        ),
        CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="failed_says_why"),
        # A user's next job of a kind, without a sort: fairness reads one row per user.
        _partial("ix_jobs_line", "kind", "user_id", "priority", "id", where=RUNNABLE),
        _partial("ix_jobs_leases", "kind", "user_id", "lease_expires_at", where=RUNNING),
        # A user's jobs that count for the cap, in their order.
        _partial("ix_jobs_waiting", "user_id", "kind", "priority", "id", where=WAITING),
        _partial("ix_jobs_lifted", "kind", "lifted_at", where=LIFTED),
        _partial("ix_jobs_blocked", "blocked_by", where=BLOCKED),
        _partial("ix_jobs_start_before", "start_before", where=MUST_START),
        # How long jobs of a kind take, for estimates.
        _partial("ix_jobs_succeeded", "kind", "finished_at", where=SUCCEEDED),
        Index("ix_jobs_user_id_id", "user_id", "id"),
    )


class Checkpoint(Base):
    """A network at one step, with all that a training needs to go on from there."""

    __tablename__ = "checkpoints"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    step: Mapped[int]
    epoch: Mapped[float]
    loss: Mapped[float | None]
    val_loss: Mapped[float | None]
    digest: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[dict[str, Any]]
    #: Whether one fingerprint computed all of it.
    exact: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("job_id", "step"),
        Index("ix_checkpoints_model_id_step", "model_id", "step"),
        CheckConstraint("step >= 0", name="step"),
    )


class Metric(Base):
    """One point of a loss curve. A step that is done again replaces its point."""

    __tablename__ = "metrics"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[float]
    loss: Mapped[float | None]
    val_loss: Mapped[float | None]
    bits_per_char: Mapped[float | None]
    learning_rate: Mapped[float | None]
    characters_per_second: Mapped[float | None]
    at: Mapped[datetime]


class GeneratedText(Base):
    """What a network wrote: asked for by a `generate` job, or sampled while it trained."""

    __tablename__ = "texts"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    model_id: Mapped[str | None] = mapped_column(
        ForeignKey("models.id", ondelete="SET NULL"), index=True
    )
    checkpoint_id: Mapped[str | None] = mapped_column(
        ForeignKey("checkpoints.id", ondelete="SET NULL"), index=True
    )
    requested: Mapped[bool]
    #: The place in its job: temperatures in the order they were given, then `n`.
    position: Mapped[int]
    step: Mapped[int] = mapped_column(default=0, server_default="0")
    epoch: Mapped[float | None]
    prompt: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    temperature: Mapped[float]
    top_k: Mapped[int | None]
    top_p: Mapped[float | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    finish_reason: Mapped[str] = mapped_column(String(20))
    #: The temperature at the end, where a schedule changed it on the way.
    temperature_to: Mapped[float | None]
    repetition_penalty: Mapped[float] = mapped_column(default=1.0, server_default="1")
    #: Whether the text is shown with its prompt before it.
    echo: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Under the network's own distribution, before temperature and limits; in nats.
    mean_logprob: Mapped[float | None]
    bits_per_char: Mapped[float | None]
    logprobs: Mapped[list[float] | None] = mapped_column(Json)
    #: Its longest piece that stands in the corpus: length, place in the text, place in the corpus.
    copied_characters: Mapped[int | None]
    copied_at: Mapped[int | None]
    copied_from: Mapped[int | None]
    #: Share of its 8-grams that occur in the corpus.
    known_grams: Mapped[float | None]
    created_at: Mapped[datetime]

    # A repeated attempt can't write the same text twice.
    __table_args__ = (UniqueConstraint("job_id", "step", "position"),)


class JobEvent(Base):
    """What happened to a job, in order."""

    __tablename__ = "job_events"
    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(40))
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class Device(Base):
    """A worker, as it last showed itself: one row per host, device and lane."""

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(String(100))
    device: Mapped[str] = mapped_column(String(60))
    lane: Mapped[str] = mapped_column(String(10))
    gpu_uuid: Mapped[str | None] = mapped_column(String(60))
    gpu_name: Mapped[str | None] = mapped_column(String(100))
    pid: Mapped[int]
    versions: Mapped[dict[str, Any]]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    #: When the child had built its first graph; a wake before that waits for it.
    ready_at: Mapped[datetime | None]
    drain_requested_at: Mapped[datetime | None]
    current_job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), index=True
    )

    __table_args__ = (CheckConstraint(_one_of("lane", KINDS), name="lane"),)


class IdempotencyKey(Base):
    """The first answer to a POST, so that the same request twice makes one thing."""

    __tablename__ = "idempotency_keys"
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    location: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(index=True)
