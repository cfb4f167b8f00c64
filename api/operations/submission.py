"""A job into the queue, and the wake after the commit."""

from dataclasses import replace

from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.idempotency import Creation
from api.permissions import own_job
from api.schemas.requests import SchedulingOptions
from api.serializers import job_reply, place_reply
from api.services import services
from shared.clock import database_now
from shared.queue.types import Submission
from shared.tables import PRIORITIES, Job


def submit(session: Session, submission: Submission, order: SchedulingOptions | None = None) -> Creation:
    """Put a job into the queue, in the transaction of the session; the wake follows its commit.

    Args:
        session: Of the request.
        submission: The job.
        order: When it may run; at its turn if not given.

    Raises:
        NotFound: The caller has no job that it could come after.
        Invalid: It would have had to start already.
        shared.queue.errors.CapReached: The user has too much of something.
        shared.queue.errors.WaitsInVain: What it is to come after has not succeeded.
    """
    session.flush()
    if order is not None:
        submission = _ordered(session, submission, order)
    entered = services().queue.enter(session.connection(), submission)
    job_id = entered["id"]
    # Not read back from the database: it is what was written there a moment ago.
    job = Job(attempt=0, **entered)

    def wake() -> None:
        services().broker.wake(submission.kind, job_id)

    def with_place(session: Session, reply: BaseModel) -> BaseModel:
        return reply.model_copy(update={"queue": place_reply(session, job)})

    reply = job_reply(session, job, place=False)
    return Creation(reply, 202, f"/v1/jobs/{job_id}", committed=wake, whole=with_place)


def _ordered(session: Session, submission: Submission, order: SchedulingOptions) -> Submission:
    if order.after is not None:
        own_job(session, order.after)
    now = database_now(session.connection())
    if order.start_before is not None and order.start_before <= now:
        raise Invalid(
            "start_before",
            order.start_before.isoformat(),
            f"is past: it is {now:%Y-%m-%dT%H:%M:%SZ} now; take a later time, or leave it out",
        )
    return replace(
        submission,
        priority=PRIORITIES[order.priority],
        after_job_id=order.after,
        start_before=order.start_before,
        deadline_seconds=order.deadline_seconds,
    )
