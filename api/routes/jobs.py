"""Jobs: list, read, cancel, pause, promote and run again; and their texts."""

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import NotFound
from api.http.idempotency import create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import json_response, page_response
from api.operations.audit import record
from api.operations.following.job_texts import texts_of
from api.operations.rerun import rerun
from api.permissions import (
    as_id,
    current_user,
    not_of_deleted_model,
    own_job,
    own_job_as_shown,
    require_admin,
)
from api.schemas.headers import IdempotencyHeader
from api.schemas.jobs import JobReply, PromotedJobReply
from api.schemas.params import IdPath, JobsPage, JobTextsPage
from api.schemas.replies import Listing
from api.schemas.texts import TextReply
from api.serializers.jobs import job_replies, job_reply, own_job_reply
from api.serializers.texts import text_replies
from api.services import reading, services, writing
from shared.database import reading as database_reading
from shared.queue.errors import NoSuchJob
from shared.queue.types import JobEnd
from shared.tables import Job, User

jobs = Resource("jobs", "Your jobs and their progress")

NEWEST = SortOrder("jobs", (Job.id,))


@jobs.get("/jobs", Listing[JobReply])
def list_jobs(query: JobsPage) -> Response:
    """List your jobs, newest first, without their texts."""
    statement = select(Job).where(Job.user_id == current_user().id)
    filters = {
        Job.kind: query.kind,
        Job.status: query.status,
        Job.model_id: query.model,
        Job.name: query.name,
    }
    for column, value in filters.items():
        statement = statement if value is None else statement.where(column == value)
    if query.model is not None:
        statement = statement.where(not_of_deleted_model(Job.model_id))
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
        return page_response(job_replies(session, [row.Job for row in rows]), next_cursor)


@jobs.get("/jobs/<id>", JobReply)
def read_job(path: IdPath) -> Response:
    """Read one job. An ended generation includes its texts, even if it failed."""
    with database_reading(services().engine) as connection:
        return json_response(own_job_reply(connection, own_job_as_shown(connection, path.id)))


@jobs.post("/jobs/<id>/cancel", 202, JobReply)
def cancel_job(path: IdPath) -> Response:
    """Cancel a job.

    A queued job ends at once; a running one as soon as its worker receives the request. An ended
    job is refused with 409.
    """
    with writing() as session:
        job = own_job(session, path.id)
        services().queue.cancel(session.connection(), job.id)
        reply = _accepted(session, job)
    services().event_publisher.publish(job.id, job.attempt, "state")
    services().end_publisher.publish([JobEnd(job.id, job.attempt)])
    return reply


@jobs.post("/jobs/<id>/pause", 202, JobReply)
def pause_job(path: IdPath) -> Response:
    """Pause a job until it is resumed.

    A queued job pauses at once; a running one as soon as its worker receives the request. A
    training first stores a checkpoint, from which it later continues exactly. Pausing a paused job
    changes nothing.
    """
    with writing() as session:
        job = own_job(session, path.id)
        services().queue.pause(session.connection(), job.id)
        reply = _accepted(session, job)
    services().event_publisher.publish(job.id, job.attempt, "state")
    return reply


@jobs.post("/jobs/<id>/resume", 202, JobReply)
def resume_job(path: IdPath) -> Response:
    """Resume a paused job. It queues again, at the place that your share gives it."""
    with writing() as session:
        job = own_job(session, path.id)
        services().queue.resume(session.connection(), job.id)
        reply = _accepted(session, job)
    services().event_publisher.publish(job.id, job.attempt, "state")
    services().broker.wake_soon(job.kind, job.id)
    return reply


@jobs.post("/jobs/<id>/promote", 202, PromotedJobReply, scope="admin")
def promote_job(path: IdPath) -> Response:
    """Promote a job above all others, whatever its owner's share (admins only).

    Its owner's caps still apply, and once it runs it is not preempted.
    """
    return _promote(path)


@jobs.post("/jobs/<id>/lift", 202, PromotedJobReply, scope="admin", deprecated=True)
def lift_job(path: IdPath) -> Response:
    """Promote a job. Deprecated: use `/v1/jobs/{id}/promote`."""
    return _promote(path)


@jobs.post("/jobs/<id>/rerun", 202, JobReply)
@creates
def rerun_job(path: IdPath, header: IdempotencyHeader) -> Response:
    """Run a job again: a new job with the same numbers and seed.

    A training creates a new model. A generation resolves `best` and `latest` again.
    """
    return create_once(header, b"", lambda session: rerun(session, path.id)).response()


@jobs.get("/jobs/<id>/texts", Listing[TextReply])
def list_job_texts(path: IdPath, query: JobTextsPage) -> Response:
    """List the texts of a job in order, including samples that a training wrote.

    To follow a training, repeat the request with `after` set to the last step received.
    """
    with reading() as session:
        job = own_job(session, path.id)
        rows, next_cursor = texts_of(session, job.id, query)
        return page_response(text_replies(session, rows), next_cursor)


def _accepted(session: Session, job: Job) -> Response:
    session.refresh(job)
    return json_response(job_reply(session, job), 202, {"Location": f"/v1/jobs/{job.id}"})


def _promote(path: IdPath) -> Response:
    require_admin()
    with writing() as session:
        job_id = as_id("job", path.id)
        try:
            services().queue.promote(session.connection(), job_id)
        except NoSuchJob:
            raise NotFound("job", path.id) from None
        job = session.get_one(Job, job_id)
        owner = session.get_one(User, job.user_id)
        record(session, "job.promoted", user=owner.name, resource=("job", job.id))
        return json_response(PromotedJobReply(id=job.id, kind=job.kind, status=job.status), 202)
