"""The rows that belong to a job: events, loss curves, checkpoints and texts.

All functions take the connection of the queue's fenced transaction; none writes `jobs`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, insert, select

from shared.ids import new_id
from shared.queue.types import CheckpointRecord, Claim, ProgressReport, TextRecord
from shared.tables import Checkpoint, GeneratedText, JobEvent, Metric
from shared.upsert import insert_if_absent, insert_or_replace

_INSERT_EVENT = insert(JobEvent)


def add_event(
    connection: Connection, job_id: str, attempt: int, now: datetime, type_: str, **data: object
) -> None:
    """Add an event to a job's history."""
    values = {"job_id": job_id, "attempt": attempt, "type": type_, "data": data, "at": now}
    connection.execute(_INSERT_EVENT, values)


def put_metric(
    connection: Connection,
    job_id: str,
    progress: ProgressReport,
    now: datetime,
    validated: bool,
    piece_losses: Sequence[float | None] | None = None,
) -> None:
    """Write a point of a loss curve; replace an earlier point of the same step."""
    values = {
        "job_id": job_id,
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "val_loss": progress.val_loss if validated else None,
        "bits_per_char": progress.bits_per_char if validated else None,
        "learning_rate": progress.learning_rate,
        "piece_losses": None if piece_losses is None else list(piece_losses),
        "characters_per_second": progress.characters_per_second,
        "at": now,
    }
    insert_or_replace(connection, Metric, values)


def add_checkpoint(
    connection: Connection, claim: Claim, record: CheckpointRecord, now: datetime
) -> tuple[str, bool]:
    """Insert a checkpoint's row, unless its step has one.

    Returns:
        The id of the step's checkpoint, and whether it is new.
    """
    values = asdict(record) | {
        "id": new_id(),
        "model_id": claim.model_id,
        "job_id": claim.job_id,
        "attempt": claim.attempt,
        "created_at": now,
    }
    if insert_if_absent(connection, Checkpoint, values):
        return str(values["id"]), True
    first = select(Checkpoint.id).where(
        Checkpoint.job_id == claim.job_id, Checkpoint.step == record.step
    )
    return connection.scalars(first).one(), False


def add_texts(
    connection: Connection, claim: Claim, texts: Sequence[TextRecord], now: datetime
) -> None:
    """Insert texts; a text that an earlier attempt has committed stays as it is."""
    for text in texts:
        values = asdict(text) | {
            "id": new_id(),
            "job_id": claim.job_id,
            "user_id": claim.user_id,
            "model_id": claim.model_id,
            "created_at": now,
        }
        insert_if_absent(connection, GeneratedText, values)
