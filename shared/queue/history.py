"""The rows that go with a job: events, texts, checkpoints, loss curves.

Each takes the connection of the queue's fenced transaction; none touches `jobs`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, insert, select

from shared.ids import new_id
from shared.queue.types import CheckpointRecord, Claim, Progress, TextRecord
from shared.tables import Checkpoint, GeneratedText, JobEvent, Metric
from shared.upsert import insert_if_absent, insert_or_replace

_INSERT_EVENT = insert(JobEvent)


def add_event(
    connection: Connection, job_id: str, attempt: int, now: datetime, kind: str, **data: object
) -> None:
    """Write one line of a job's history."""
    values = {"job_id": job_id, "attempt": attempt, "type": kind, "data": data, "at": now}
    connection.execute(_INSERT_EVENT, values)


def put_metric(
    connection: Connection, job_id: str, progress: Progress, now: datetime, judged: bool
) -> None:
    """Write a point of a loss curve, or replace that of the same step."""
    values = {
        "job_id": job_id,
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": progress.loss,
        "val_loss": progress.val_loss if judged else None,
        "bits_per_char": progress.bits_per_char if judged else None,
        "learning_rate": progress.learning_rate,
        "characters_per_second": progress.characters_per_second,
        "at": now,
    }
    insert_or_replace(connection, Metric, values)


def add_checkpoint(
    connection: Connection, claim: Claim, record: CheckpointRecord, now: datetime
) -> tuple[str, bool]:
    """Write a checkpoint's row.

    Returns:
        Its id, and whether it is new; the first one's id where the step has one already.
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
    """Write texts; one that an earlier attempt has committed stays as it was."""
    for text in texts:
        values = asdict(text) | {
            "id": new_id(),
            "job_id": claim.job_id,
            "user_id": claim.user_id,
            "model_id": claim.model_id,
            "created_at": now,
        }
        insert_if_absent(connection, GeneratedText, values)
