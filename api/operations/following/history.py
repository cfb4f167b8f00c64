"""The history of a job: what happened to it, for its owner and for whoever has its link."""

from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.paging import SortOrder, read_page
from api.schemas.jobs import EventReply
from api.schemas.params import HistoryPage
from shared.tables import JobEvent

HISTORY = SortOrder("history", (JobEvent.id,), newest_first=False)


def history_of(
    session: Session, job_id: str, query: HistoryPage, types: Collection[str] | None = None
) -> tuple[Iterable[EventReply], str | None]:
    """Return a page of the events of a job, oldest first, and the cursor of the next one.

    Args:
        session: The session to read with.
        job_id: The job, which the caller has found.
        query: The page.
        types: Only events of these types; None for all.
    """
    statement = select(JobEvent).where(JobEvent.job_id == job_id)
    if query.after is not None:
        statement = statement.where(JobEvent.id > query.after)
    if types is not None:
        statement = statement.where(JobEvent.type.in_(types))
    rows, next_cursor = read_page(session, statement, HISTORY, query)
    return [_reply(row[0]) for row in rows], next_cursor


def _reply(event: JobEvent) -> EventReply:
    return EventReply(
        id=event.id, type=event.type, attempt=event.attempt, data=event.data, at=event.at
    )
