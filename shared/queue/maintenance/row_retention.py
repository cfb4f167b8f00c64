"""Retention of rows: what is deleted once it is old, if a setting says so, and how much that is.

Nothing goes that another row refers to: a training whose model is there, a job that has texts or
checkpoints or that a waiting job comes after, a text that somebody has shared. The references are
found in the tables' definitions, so that those of a new table count too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from shared.clock import database_now
from shared.settings import Settings
from shared.tables import (
    TERMINAL_STATUSES,
    AuditEvent,
    Base,
    Delivery,
    Device,
    GeneratedText,
    Job,
    JobEvent,
    Metric,
    Model,
    Notification,
)

#: Rows that one transaction deletes: few, so that no writer waits long.
ROWS_AT_ONCE = 500
#: Transactions of one round of maintenance, whose next round goes on.
BATCHES_AT_ONCE = 20
#: Tables whose rows are parts of a row, and go with it, or only say what runs.
PARTS = frozenset(
    table.__tablename__ for table in (JobEvent, Metric, Notification, Delivery, Device)
)


@dataclass(frozen=True)
class OldRows:
    """Rows of one kind that are older than a setting keeps them.

    Attributes:
        what: What they are.
        setting: The environment variable that says for how many days they are kept.
        days: Its value; None keeps them for ever.
        table: Their table.
        old: Selects their primary keys.
    """

    what: str
    setting: str
    days: float | None
    table: type[Base]
    old: "Select[*tuple[Any, ...]] | None"

    def count(self, connection: Connection) -> int:
        """How many there are now."""
        if self.old is None:
            return 0
        return connection.scalar(select(func.count()).select_from(self.old.subquery())) or 0

    def delete_some(self, connection: Connection) -> int:
        """Delete some of them; return how many."""
        if self.old is None:
            return 0
        keys = connection.execute(self.old.limit(ROWS_AT_ONCE)).all()
        if not keys:
            return 0
        [first, *others] = self.table.__table__.primary_key
        if others:
            which = or_(
                *(
                    and_(*(c == v for c, v in zip((first, *others), key, strict=True)))
                    for key in keys
                )
            )
        else:
            which = first.in_([key[0] for key in keys])
        return connection.execute(delete(self.table).where(which)).rowcount


def old_rows(settings: Settings, now: datetime) -> list[OldRows]:
    """Return what is older than the settings keep it, in the order in which it goes."""

    def kind(what: str, field: str, table: type[Base], *, days: float | None) -> OldRows:
        variable = f"QUIRE_{field.upper()}"
        if days is None:
            return OldRows(what, variable, None, table, None)
        query = _OLD[what](now - timedelta(days=days))
        return OldRows(what, variable, days, table, query)

    return [
        kind("texts", "keep_texts_days", GeneratedText, days=settings.keep_texts_days),
        kind("points of loss curves", "keep_metrics_days", Metric, days=settings.keep_metrics_days),
        kind("events of jobs", "keep_events_days", JobEvent, days=settings.keep_events_days),
        kind("finished jobs", "keep_jobs_days", Job, days=settings.keep_jobs_days),
        kind("events of the audit", "audit_days", AuditEvent, days=settings.audit_days),
    ]


def forget_old_rows(engine: Engine, settings: Settings, batches: int = BATCHES_AT_ONCE) -> int:
    """Delete what is older than the settings keep it, in small transactions.

    Args:
        engine: The database.
        settings: Say for how many days each kind is kept.
        batches: The most transactions for one kind; the next round goes on.

    Returns:
        How many rows were deleted.
    """
    with engine.connect() as connection:
        now = database_now(connection)
    total = 0
    for rows in old_rows(settings, now):
        for _ in range(batches if rows.old is not None else 0):
            with engine.begin() as connection:
                deleted = rows.delete_some(connection)
            total += deleted
            if deleted < ROWS_AT_ONCE:
                break
    return total


def _uncited(table: type[Base]) -> Iterator[ColumnElement[bool]]:
    """The conditions that no row of another table refers to a row of this one."""
    for other in Base.metadata.sorted_tables:
        for key in other.foreign_keys:
            if key.column.table is table.__table__ and other.name not in PARTS:
                yield ~exists().where(key.parent == key.column)


def _old_texts(before: datetime) -> Select[Any]:
    ended = exists().where(Job.id == GeneratedText.job_id, Job.status.in_(TERMINAL_STATUSES))
    return select(GeneratedText.id).where(
        GeneratedText.created_at < before,
        GeneratedText.kept.is_(False),
        ended,
        *_uncited(GeneratedText),
    )


def _ended(before: datetime) -> Sequence[ColumnElement[bool]]:
    return Job.status.in_(TERMINAL_STATUSES), Job.finished_at < before


def _old_jobs(before: datetime) -> Select[Any]:
    follower = aliased(Job)
    return select(Job.id).where(
        *_ended(before),
        # Its numbers are those of its model, as long as that is there.
        or_(Job.kind != "train", Job.model_id.is_(None), ~exists().where(Model.id == Job.model_id)),
        ~exists().where(follower.after_job_id == Job.id, follower.status.not_in(TERMINAL_STATUSES)),
        # A message about it is sent first, or given up.
        ~exists().where(Delivery.job_id == Job.id, Delivery.status == "pending"),
        *_uncited(Job),
    )


def _old_events(before: datetime) -> Select[Any]:
    return select(JobEvent.id).join(Job, Job.id == JobEvent.job_id).where(*_ended(before))


def _old_points(before: datetime) -> Select[Any, Any]:
    of_old = select(Metric.job_id, Metric.step).join(Job, Job.id == Metric.job_id)
    return of_old.where(*_ended(before))


def _old_audit(before: datetime) -> Select[Any]:
    return select(AuditEvent.id).where(AuditEvent.at < before)


_OLD = {
    "texts": _old_texts,
    "points of loss curves": _old_points,
    "events of jobs": _old_events,
    "finished jobs": _old_jobs,
    "events of the audit": _old_audit,
}
