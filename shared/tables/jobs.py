"""Jobs, their events and metrics, and the workers that run them."""

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import Base, Id, Json, RowNumber, one_of, partial

Kind = Literal["train", "generate"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)
#: A job with one of these statuses never changes again.
TERMINAL_STATUSES = ("succeeded", "failed", "cancelled")
#: Among a user's own jobs, the lowest number runs first.
PRIORITIES = {"high": -1, "normal": 0, "low": 1}
#: The conditions of the partial indexes of `jobs`. A statement must repeat a condition word for
#: word to use its index: neither database recognises an equivalent one.
RUNNABLE = "status = 'queued' AND blocked_by IS NULL"
RUNNING = "status = 'running'"
WAITING = "status IN ('queued', 'paused')"
PROMOTED = "lifted_at IS NOT NULL AND status = 'queued'"
BLOCKED = "blocked_by IS NOT NULL"
MUST_START = f"start_before IS NOT NULL AND started_at IS NULL AND {WAITING}"
SUCCEEDED = "status = 'succeeded'"
UNSUCCESSFUL = "status IN ('failed', 'cancelled')"


class Job(Base):
    """A training or a generation. Only shared/queue/ writes `status`."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[Kind] = mapped_column(String(10))
    status: Mapped[Status] = mapped_column(String(10), default="queued")
    name: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    spec: Mapped[dict[str, Any]]
    model_id: Mapped[str | None] = mapped_column(
        ForeignKey("models.id", ondelete="SET NULL"), index=True
    )
    corpus_id: Mapped[str | None] = mapped_column(
        ForeignKey("corpora.id", ondelete="SET NULL"), index=True
    )
    #: The checkpoint of a generation, in all its attempts. No foreign key, as for `after_job_id`.
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Attempts since the latest checkpoint or committed text.
    fruitless_attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Its worker died while it ran a batch: the job must not share a batch any more.
    alone: Mapped[bool] = mapped_column(default=False, server_default=false())
    charged_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    #: A training holds one of so many slots of its device, and each second costs 1/slots.
    device_slots: Mapped[int] = mapped_column(default=1, server_default="1")
    #: Running time over all its ended attempts.
    ran_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    worker_id: Mapped[str | None] = mapped_column(String(200))
    lease_expires_at: Mapped[datetime | None]
    #: The estimate of a training's duration when it was submitted.
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
    #: When an admin promoted it ahead of all others.
    lifted_at: Mapped[datetime | None]
    #: The job to run after; `blocked_by` is the same until that job has succeeded. No foreign
    #: keys: SQLite could add or drop them only by copying the whole table.
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
        # A user's next job of a kind without a sort: the policy reads one row per user.
        partial("ix_jobs_line", "kind", "user_id", "priority", "id", where=RUNNABLE),
        partial("ix_jobs_leases", "kind", "user_id", "lease_expires_at", where=RUNNING),
        # A user's jobs that count against `max_queued`, in their order.
        partial("ix_jobs_waiting", "user_id", "kind", "priority", "id", where=WAITING),
        partial("ix_jobs_lifted", "kind", "lifted_at", where=PROMOTED),
        partial("ix_jobs_blocked", "blocked_by", where=BLOCKED),
        partial("ix_jobs_start_before", "start_before", where=MUST_START),
        # Recent durations of a kind, for estimates.
        partial("ix_jobs_succeeded", "kind", "finished_at", where=SUCCEEDED),
        # Few, and counted by each scrape of /metrics.
        partial("ix_jobs_unsuccessful", "kind", "status", where=UNSUCCESSFUL),
        Index("ix_jobs_user_id_id", "user_id", "id"),
    )


class JobEvent(Base):
    """An event in the history of a job."""

    __tablename__ = "job_events"
    id: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(40))
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class Metric(Base):
    """A point of a loss curve. A repeated step replaces its point."""

    __tablename__ = "metrics"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[float]
    loss: Mapped[float | None]
    val_loss: Mapped[float | None]
    bits_per_char: Mapped[float | None]
    #: Of each held-out piece, in the order of the text; null where one holds no window.
    piece_losses: Mapped[list[float | None] | None] = mapped_column(Json)
    learning_rate: Mapped[float | None]
    characters_per_second: Mapped[float | None]
    at: Mapped[datetime]


class Device(Base):
    """A worker as it last registered: one row per host, device, lane and slot."""

    __tablename__ = "devices"
    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    host: Mapped[str] = mapped_column(String(100))
    device: Mapped[str] = mapped_column(String(60))
    lane: Mapped[Kind] = mapped_column(String(10))
    #: Which of the lane's `slots` on its device this worker is, from 0.
    slot: Mapped[int] = mapped_column(default=0, server_default="0")
    slots: Mapped[int] = mapped_column(default=1, server_default="1")
    gpu_uuid: Mapped[str | None] = mapped_column(String(60))
    gpu_name: Mapped[str | None] = mapped_column(String(100))
    #: The part of the GPU's memory that this worker may use; null on a CPU.
    gpu_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    pid: Mapped[int]
    versions: Mapped[dict[str, Any]]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    #: When the child process had built its first graph; earlier wakes wait for that.
    ready_at: Mapped[datetime | None]
    drain_requested_at: Mapped[datetime | None]
    current_job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), index=True
    )
    #: Which start of a worker holds this name: a random number of its supervisor. Null for a
    #: worker of an earlier version.
    instance_id: Mapped[str | None] = mapped_column(String(32))
    #: Its supervisor's process; see shared/process/identity.py.
    instance_process: Mapped[str | None] = mapped_column(String(200))
    #: When its supervisor said last that it runs, even while a lane is being restarted.
    instance_seen_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint(one_of("lane", KINDS), name="lane"),)
