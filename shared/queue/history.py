"""The rows that belong to a job: events, loss curves, checkpoints and texts.

All functions take the connection of the queue's fenced transaction; none writes `jobs`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from shared.ids import new_id
from shared.notifications import outbox
from shared.prepared import Prepared
from shared.queue.types import CheckpointRecord, Claim, ProgressReport, StoredText, TextRecord
from shared.tables import TERMINAL_STATUSES, Checkpoint, GeneratedText, JobEvent, Metric
from shared.upsert import insert_all_if_absent, insert_if_absent, insert_or_replace

_INSERT_EVENT = Prepared(insert(JobEvent))
_TEXT_FIELDS = tuple(each.name for each in fields(TextRecord))
_STORED_FIELDS = tuple(each.name for each in fields(StoredText))


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a job's history."""

    job_id: str
    attempt: int
    type: str
    data: Mapping[str, object] = field(default_factory=dict)


def add_event(
    connection: Connection, job_id: str, attempt: int, now: datetime, type_: str, **data: object
) -> None:
    """Add an event to a job's history."""
    add_events(connection, [Event(job_id, attempt, type_, data)], now)


def add_events(connection: Connection, events: Sequence[Event], now: datetime) -> None:
    """Add events to the histories of any number of jobs, in one statement.

    Whoever wants to hear of an end is told of it in the same transaction, so call this once the
    jobs have their new status.
    """
    if events:
        rows = [
            {
                "job_id": event.job_id,
                "attempt": event.attempt,
                "type": event.type,
                "data": event.data,
                "at": now,
            }
            for event in events
        ]
        _INSERT_EVENT.run(connection, *rows)
        if ended := [event.job_id for event in events if event.type in TERMINAL_STATUSES]:
            outbox.record_ends(connection, ended, now)


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
        outbox.record_checkpoint(connection, claim.job_id, values, now)
        return str(values["id"]), True
    first = select(Checkpoint.id).where(
        Checkpoint.job_id == claim.job_id, Checkpoint.step == record.step
    )
    return connection.scalars(first).one(), False


def add_texts(
    connection: Connection, claim: Claim, texts: Sequence[TextRecord], now: datetime
) -> None:
    """Insert texts; a text that an earlier attempt has committed stays as it is."""
    insert_texts(connection, stored_texts(claim, texts, now))


def stored_texts(claim: Claim, texts: Sequence[TextRecord], now: datetime) -> list[StoredText]:
    """The rows of a job's texts."""
    return [
        StoredText(
            **_values(text, _TEXT_FIELDS),
            id=new_id(),
            job_id=claim.job_id,
            user_id=claim.user_id,
            model_id=claim.model_id,
            created_at=now,
        )
        for text in texts
    ]


def insert_texts(connection: Connection, texts: Sequence[StoredText]) -> None:
    """Insert texts of any number of jobs, in one statement; one that is there already stays."""
    rows = [_values(text, _STORED_FIELDS) for text in texts]
    insert_all_if_absent(connection, GeneratedText, rows)


def _values(record: object, names: Sequence[str]) -> dict[str, Any]:
    # Unlike `dataclasses.asdict`, this copies no list of a thousand log-probabilities.
    return {name: getattr(record, name) for name in names}
