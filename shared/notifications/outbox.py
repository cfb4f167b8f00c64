"""Write what is to be sent, in the transaction of what it tells: a restart loses none of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select

from shared.ids import new_id
from shared.prepared import Prepared
from shared.tables import Delivery, Job, Notification

CHECKPOINT_EVENT, TEST_EVENT = "checkpoint.recorded", "webhook.test"
_FACTS = (
    Job.id, Job.kind, Job.name, Job.status, Job.model_id, Job.error, Job.created_at,
    Job.started_at, Job.finished_at,
)  # fmt: skip
_WISHES = (
    select(
        Notification.id.label("notification_id"),
        Notification.kind.label("medium"),
        Notification.target,
        Notification.user_id,
        *_FACTS,
    )
    .join(Job, Job.user_id == Notification.user_id)
    .where(
        Job.id.in_(bindparam("jobs", expanding=True)),
        or_(
            Notification.job_id == Job.id,
            and_(Notification.job_id.is_(None), Job.kind == "train"),
        ),
    )
    .order_by(Notification.id)
)
_OF_ENDS = Prepared(_WISHES)
_OF_CHECKPOINTS = _WISHES.where(Notification.checkpoints)


def record_ends(connection: Connection, jobs: Sequence[str], now: datetime) -> None:
    """Write the messages about jobs that this transaction has ended."""
    found = _OF_ENDS.all(connection, {"jobs": list(jobs)})
    _write(connection, found, lambda row: f"job.{row.status}", {}, now)


def record_checkpoint(
    connection: Connection, job_id: str, checkpoint: Mapping[str, Any], now: datetime
) -> None:
    """Write the messages about a checkpoint that this transaction records."""
    found = connection.execute(_OF_CHECKPOINTS, {"jobs": [job_id]}).all()
    names = ("id", "step", "epoch", "loss", "val_loss")
    facts = {"checkpoint": {name: checkpoint[name] for name in names}}
    _write(connection, found, lambda _: CHECKPOINT_EVENT, facts, now)


def trial_delivery(user_id: str, kind: str, target: str, now: datetime) -> Delivery:
    """A message that tells nothing, to try an address."""
    return Delivery(
        id=new_id(),
        user_id=user_id,
        kind=kind,
        target=target,
        event=TEST_EVENT,
        payload=_payload(TEST_EVENT, {}, now),
        status="pending",
        tries=0,
        next_try_at=now,
        created_at=now,
    )


def _write(
    connection: Connection, wishes: Iterable[Any], event_of: Any, facts: Mapping[str, Any],
    now: datetime,
) -> None:  # fmt: skip
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for wish in wishes:
        event = event_of(wish)
        # An address that wishes to hear of the job and of all jobs is told once.
        rows.setdefault(
            (wish.id, wish.medium, wish.target),
            {
                "id": new_id(),
                "user_id": wish.user_id,
                "job_id": wish.id,
                "notification_id": wish.notification_id,
                "kind": wish.medium,
                "target": wish.target,
                "event": event,
                "payload": _payload(event, {"job": _job(wish), **facts}, now),
                "status": "pending",
                "tries": 0,
                "next_try_at": now,
                "created_at": now,
            },
        )
    if rows:
        connection.execute(insert(Delivery), list(rows.values()))


def _job(row: Any) -> dict[str, Any]:
    times = ("created_at", "started_at", "finished_at")
    return {
        **{name: getattr(row, name) for name in ("id", "kind", "name", "status", "error")},
        "model": row.model_id,
        **{name: _moment(getattr(row, name)) for name in times},
    }


def _payload(event: str, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {"type": event, "timestamp": _moment(now), "data": dict(data)}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
