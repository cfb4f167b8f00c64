"""Reads checkpoints: the rows in the database, and the arrays in their bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select

from shared import blobs
from shared.database import reading
from shared.tables import Checkpoint as Row
from shared.tables import GeneratedText
from worker.ml.checkpoint import BadCheckpoint, TrainingState, unpack

#: Why a stored checkpoint cannot be used.
UNUSABLE = (blobs.MissingBlob, blobs.CorruptBlob, BadCheckpoint)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """What a resume needs of a checkpoint's row.

    Attributes:
        id: The checkpoint's id.
        step: The step after which it was saved.
        sha256: Names its bytes.
    """

    id: str
    step: int
    sha256: str


def newest_first(engine: Engine, job_id: str) -> Iterator[StoredCheckpoint]:
    """A training's checkpoints, newest first."""
    query = select(Row.id, Row.step, Row.sha256).where(Row.job_id == job_id)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(Row.step.desc())).all()
    yield from (StoredCheckpoint(*row) for row in rows)


def best_first(engine: Engine, job_id: str) -> Iterator[StoredCheckpoint]:
    """A training's validated checkpoints, best first; of equals the newest first."""
    query = select(Row.id, Row.step, Row.sha256).where(
        Row.job_id == job_id, Row.val_loss.is_not(None)
    )
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(Row.val_loss, Row.step.desc())).all()
    yield from (StoredCheckpoint(*row) for row in rows)


def at_step(engine: Engine, job_ids: Sequence[str], step: int) -> StoredCheckpoint | None:
    """The checkpoint of a step, from the first of these trainings that has one."""
    query = select(Row.id, Row.step, Row.sha256, Row.job_id).where(
        Row.job_id.in_(job_ids), Row.step == step
    )
    with reading(engine) as connection:
        rows = {row.job_id: row for row in connection.execute(query)}
    found = next((rows[job_id] for job_id in job_ids if job_id in rows), None)
    return None if found is None else StoredCheckpoint(found.id, found.step, found.sha256)


def load(engine: Engine, sha256: str) -> TrainingState:
    """A checkpoint's arrays, verified.

    Raises:
        shared.blobs.MissingBlob: The bytes are not in the database.
        shared.blobs.CorruptBlob: The bytes have changed.
        BadCheckpoint: The bytes are not a checkpoint.
    """
    return unpack(blobs.load(engine, sha256))


def has_texts(engine: Engine, job_id: str, step: int) -> bool:
    """Whether the texts that a training samples at a step are stored."""
    query = select(GeneratedText.id).where(
        GeneratedText.job_id == job_id, GeneratedText.step == step
    )
    with reading(engine) as connection:
        return connection.scalar(query.limit(1)) is not None
