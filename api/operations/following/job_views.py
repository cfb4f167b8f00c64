"""What a client may see of a job that it follows."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.orm import Session

from api.permissions import check_key_again
from api.schemas.jobs import JobReply
from api.schemas.texts import TextReply
from api.serializers.jobs import job_reply
from api.serializers.texts import text_replies
from shared.tables import GeneratedText, Job


class JobView(Protocol):
    """What a client may see of a job, and for how long."""

    def check(self, session: Session) -> None:
        """Check that the client may still see it.

        Raises:
            Unauthenticated: It may not.
        """

    def job(self, session: Session, job: Job) -> JobReply:
        """Render the job."""

    def texts(self, session: Session, texts: Sequence[GeneratedText]) -> list[TextReply]:
        """Render texts of the job."""


class OwnView:
    """What the current user sees of a job of their own."""

    def check(self, session: Session) -> None:
        """Check that the key is still valid."""
        check_key_again(session.connection())

    def job(self, session: Session, job: Job) -> JobReply:
        """Render the job."""
        return job_reply(session, job)

    def texts(self, session: Session, texts: Sequence[GeneratedText]) -> list[TextReply]:
        """Render texts of the job."""
        return text_replies(session, texts)
