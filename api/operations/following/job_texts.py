"""The texts of one job, in order."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.paging import SortOrder, read_page
from api.schemas.params import JobTextsPage
from shared.tables import GeneratedText

TEXTS = SortOrder("job_texts", (GeneratedText.step, GeneratedText.position), newest_first=False)


def texts_of(
    session: Session, job_id: str, query: JobTextsPage
) -> tuple[list[GeneratedText], str | None]:
    """Return the texts of a job that a query asks for, and the cursor of the next page."""
    statement = select(GeneratedText).where(GeneratedText.job_id == job_id)
    if query.after is not None:
        statement = statement.where(GeneratedText.step > query.after)
    if query.temperature is not None:
        statement = statement.where(GeneratedText.temperature == query.temperature)
    rows, next_cursor = read_page(session, statement, TEXTS, query)
    return [row[0] for row in rows], next_cursor
