"""Submit a job, and wake a worker after the commit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http import job_spans
from api.http.idempotency import Creation
from api.permissions import own_job
from api.schemas.jobs import JobReply
from api.schemas.requests import SchedulingOptions
from api.serializers.jobs import job_reply, place_reply
from api.services import services
from shared.clock import database_now
from shared.queue.types import Submission, SubmittedJob
from shared.tables import PRIORITIES


def submit(
    session: Session,
    submission: Submission,
    scheduling: SchedulingOptions | None = None,
    job_id: str | None = None,
) -> Creation:
    """Submit a job in the session's transaction. The worker is woken after the commit.

    Args:
        session: The session of the request.
        submission: The job.
        scheduling: When the job may run; in its turn by default.
        job_id: The id of the new job; a new one by default.

    Raises:
        NotFound: The user has no job with the id in `after`.
        Invalid: `start_before` is in the past.
        shared.scheduling.errors.CapReached: The user has reached a cap.
        shared.queue.errors.PredecessorFailed: The job in `after` has failed or was cancelled.
    """
    job_spans.begin_submission()
    session.flush()
    if scheduling is not None:
        if scheduling.after is not None:
            own_job(session, scheduling.after)
        submission = scheduled(submission, scheduling, partial(database_now, session.connection()))
    job = services().queue.submit(session.connection(), submission, job_id)
    reply = job_reply(session, job, place=False)
    return creation_of(job, reply)


def creation_of(
    job: SubmittedJob, reply: JobReply, after_commit: Callable[[], object] | None = None
) -> Creation:
    """Return a submitted job as the creation of its request.

    Args:
        job: The job.
        reply: The response body.
        after_commit: Called after the commit by its request; by default this wakes a worker.
    """

    def wake() -> None:
        job_spans.submitted(job.id)
        services().broker.wake_soon(job.kind, job.id)

    def add_place(session: Session, reply: BaseModel) -> BaseModel:
        return reply.model_copy(update={"queue": place_reply(session, job)})

    return Creation(
        reply,
        202,
        f"/v1/jobs/{job.id}",
        complete_reply=add_place,
        after_commit=after_commit or wake,
    )


def scheduled(
    submission: Submission, scheduling: SchedulingOptions, clock: Callable[[], datetime]
) -> Submission:
    """Return a job with the times and the order that its request asks for.

    Args:
        submission: The job.
        scheduling: Its request.
        clock: Tells the time. It is only asked where a time was given.

    Raises:
        Invalid: `start_before` is in the past.
    """
    if scheduling.start_before is not None and scheduling.start_before <= (now := clock()):
        raise Invalid(
            "start_before",
            scheduling.start_before.isoformat(),
            f"is in the past (it is {now:%Y-%m-%dT%H:%M:%SZ}). Use a later time, or leave it out",
        )
    return replace(
        submission,
        priority=PRIORITIES[scheduling.priority],
        after_job_id=scheduling.after,
        start_before=scheduling.start_before,
        deadline_seconds=scheduling.deadline_seconds,
    )
