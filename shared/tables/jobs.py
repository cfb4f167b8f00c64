"""What is asked for and by whom it is done: jobs, what happened to them, and the workers."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import Base, Id, RowNumber, one_of, partial

KINDS = ("train", "generate")
STATUSES = ("queued", "running", "paused", "succeeded", "failed", "cancelled")
#: A job in one of these never changes again.
TERMINAL_STATUSES = ("succeeded", "failed", "cancelled")
#: Of a user's own jobs the one with the least number runs first.
PRIORITIES = {"high": -1, "normal": 0, "low": 1}
#: What the partial indexes of `jobs` hold. A statement that is to use one says it in the same
#: words: neither database proves that others mean the same.
RUNNABLE = "status = 'queued' AND blocked_by IS NULL"
RUNNING = "status = 'running'"
WAITING = "status IN ('queued', 'paused')"
LIFTED = "lifted_at IS NOT NULL AND status = 'queued'"
BLOCKED = "blocked_by IS NOT NULL"
MUST_START = f"start_before IS NOT NULL AND started_at IS NULL AND {WAITING}"
SUCCEEDED = "status = 'succeeded'"


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
    #: What a generation writes with, in all its attempts. Without a foreign key, as those below.
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
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
        CheckConstraint(one_of("kind", KINDS), name="kind"),
        CheckConstraint(one_of("status", STATUSES), name="status"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint(
            "(status = 'running') = (lease_expires_at IS NOT NULL)", name="running_has_a_lease"
        ),
        CheckConstraint(
            f"({one_of('status', TERMINAL_STATUSES)}) = (finished_at IS NOT NULL)",
            name="ended_has_an_end",
        ),
        CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="failed_says_why"),
        # A user's next job of a kind, without a sort: fairness reads one row per user.
        partial("ix_jobs_line", "kind", "user_id", "priority", "id", where=RUNNABLE),
        partial("ix_jobs_leases", "kind", "user_id", "lease_expires_at", where=RUNNING),
        # A user's jobs that count for the cap, in their order.
        partial("ix_jobs_waiting", "user_id", "kind", "priority", "id", where=WAITING),
        partial("ix_jobs_lifted", "kind", "lifted_at", where=LIFTED),
        partial("ix_jobs_blocked", "blocked_by", where=BLOCKED),
        partial("ix_jobs_start_before", "start_before", where=MUST_START),
        # How long jobs of a kind take, for estimates.
        partial("ix_jobs_succeeded", "kind", "finished_at", where=SUCCEEDED),
        Index("ix_jobs_user_id_id", "user_id", "id"),
    )


class JobEvent(Base):
    """What happened to a job, in order."""

    __tablename__ = "job_events"
    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(40))
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


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

    __table_args__ = (CheckConstraint(one_of("lane", KINDS), name="lane"),)
