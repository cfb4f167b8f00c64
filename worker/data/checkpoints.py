"""Checkpoints between the pipeline's bytes and the database's rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine, select

from shared import blobs
from shared.database import reading
from shared.queue import Queue
from shared.queue.types import CheckpointRecord
from shared.tables import Checkpoint as Row
from shared.tables import GeneratedText
from worker.execution.lease import Lease
from worker.ml.checkpoint import BadCheckpoint, TrainingState, digest, pack, unpack

#: Why a stored checkpoint can't be used.
UNUSABLE = (blobs.MissingBlob, blobs.CorruptBlob, BadCheckpoint)


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint's row, as far as a resume needs it."""

    id: str
    step: int
    sha256: str


def save(queue: Queue, lease: Lease, state: TrainingState, *, judged: bool) -> str:
    """Store a state and publish it as a checkpoint of the job.

    Args:
        queue: The queue.
        lease: The job's.
        state: From `worker.ml.training.trainer.Trainer.state`.
        judged: Whether the validation loss is that of these very weights.

    Returns:
        The checkpoint's id.

    Raises:
        LeaseLost: Nothing was published.
    """
    data = pack(state)
    record = CheckpointRecord(
        step=state.meta["step"],
        epoch=state.meta["epoch"],
        loss=state.meta["loss"],
        val_loss=state.meta["val_loss"] if judged else None,
        digest=digest(state),
        sha256="",
        size_bytes=len(data),
        fingerprint=state.meta["fingerprint"],
        exact=bool(state.meta.get("exact", True)),
    )

    def tell(why: str, seconds: float) -> None:
        about = {"step": record.step, "reason": why, "seconds": round(seconds, 1)}
        lease.persist(lambda: queue.record_event(lease.claim, "checkpoint_held_up", **about))

    return lease.persist(lambda: _store(queue, lease, record, data), held_up=tell)


def _store(queue: Queue, lease: Lease, record: CheckpointRecord, data: bytes) -> str:
    while True:
        lease.check_lost()
        sha256 = blobs.store(queue.engine, data)
        try:
            return queue.record_checkpoint(lease.claim, replace(record, sha256=sha256))
        except blobs.MissingBlob:
            # A sweep took the bytes between the two: they were there from long ago.
            continue


def newest_first(engine: Engine, job_id: str) -> Iterator[Saved]:
    """The checkpoints that a training has, from the newest back."""
    query = select(Row.id, Row.step, Row.sha256).where(Row.job_id == job_id)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(Row.step.desc())).all()
    yield from (Saved(*row) for row in rows)


def at_step(engine: Engine, job_ids: Sequence[str], step: int) -> Saved | None:
    """The checkpoint of a step: of the first of these trainings that has one."""
    query = select(Row.id, Row.step, Row.sha256, Row.job_id).where(
        Row.job_id.in_(job_ids), Row.step == step
    )
    with reading(engine) as connection:
        rows = {row.job_id: row for row in connection.execute(query)}
    found = next((rows[job_id] for job_id in job_ids if job_id in rows), None)
    return None if found is None else Saved(found.id, found.step, found.sha256)


def best_first(engine: Engine, job_id: str) -> Iterator[Saved]:
    """The checkpoints of a training that were judged, the best and of equals the newest first."""
    query = select(Row.id, Row.step, Row.sha256).where(
        Row.job_id == job_id, Row.val_loss.is_not(None)
    )
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(Row.val_loss, Row.step.desc())).all()
    yield from (Saved(*row) for row in rows)


def load(engine: Engine, sha256: str) -> TrainingState:
    """A checkpoint's arrays, checked.

    Raises:
        shared.blobs.MissingBlob: As in `UNUSABLE`.
        shared.blobs.CorruptBlob: As in `UNUSABLE`.
        BadCheckpoint: As in `UNUSABLE`.
    """
    return unpack(blobs.load(engine, sha256))


def has_texts(engine: Engine, job_id: str, step: int) -> bool:
    """Whether the texts that a training samples at a step are there."""
    query = select(GeneratedText.id).where(
        GeneratedText.job_id == job_id, GeneratedText.step == step
    )
    with reading(engine) as connection:
        return connection.scalar(query.limit(1)) is not None
