"""Jobs: list, read, cancel, run again; their texts. What happens to them: api/routes/metrics.py."""

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Conflict, NotFound
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import answer, page_response
from api.operations import base_checkpoint
from api.operations.submission import submit
from api.permissions import Shareable, as_id, own_job, visible, require_admin, current_user
from api.routes.train import submit_model
from api.schemas.headers import IdempotencyHeader
from api.schemas.jobs import JobReply, PromotedJobReply
from api.schemas.params import IdPath, JobsPage, JobTextsPage
from api.schemas.replies import Listing
from api.schemas.texts import TextReply
from api.serializers import job_replies, job_reply, text_reply
from api.services import reading, services, writing
from shared.queue.errors import NoSuchJob
from shared.queue.types import Submission
from shared.specs.presets import TrainSpec
from shared.tables import Corpus, GeneratedText, Job, Model

jobs = Resource("jobs", "What you asked for, and how far it is")

NEWEST = SortOrder("jobs", (Job.id,))
TEXTS = SortOrder("job_texts", (GeneratedText.step, GeneratedText.position), newest_first=False)


@jobs.get("/jobs", Listing[JobReply])
def list_jobs(query: JobsPage) -> Response:
    """Your jobs, newest first, without their texts."""
    statement = select(Job).where(Job.user_id == current_user().id)
    filters = {
        Job.kind: query.kind,
        Job.status: query.status,
        Job.model_id: query.model,
        Job.name: query.name,
    }
    for column, value in filters.items():
        statement = statement if value is None else statement.where(column == value)
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
        return page_response(job_replies(session, [row.Job for row in rows]), next_cursor)


@jobs.get("/jobs/<id>", JobReply)
def read_job(path: IdPath) -> Response:
    """One job, with its texts once a generation has ended, however it did."""
    with reading() as session:
        return answer(job_reply(session, own_job(session, path.id)))


@jobs.post("/jobs/<id>/cancel", 202, JobReply)
def cancel_job(path: IdPath) -> Response:
    """Cancel a job.

    A queued one ends at once; a running one as soon as its worker has heard of it. One that
    has ended is refused with 409.
    """
    with writing() as session:
        job = own_job(session, path.id)
        services().queue.cancel(session.connection(), job.id)
        reply = _changed(session, job)
    services().speaker.say(job.id, job.attempt, "state")
    return reply


@jobs.post("/jobs/<id>/pause", 202, JobReply)
def pause_job(path: IdPath) -> Response:
    """Let a job stand still until it is resumed.

    A queued one is paused at once; a running one as soon as its worker has heard of it, a
    training with a checkpoint from which it goes on exactly. Pausing it again changes nothing.
    """
    with writing() as session:
        job = own_job(session, path.id)
        services().queue.pause(session.connection(), job.id)
        reply = _changed(session, job)
    services().speaker.say(job.id, job.attempt, "state")
    return reply


@jobs.post("/jobs/<id>/resume", 202, JobReply)
def resume_job(path: IdPath) -> Response:
    """Put a paused job back into the line, where its owner's service puts it."""
    with writing() as session:
        job = own_job(session, path.id)
        services().queue.resume(session.connection(), job.id)
        reply = _changed(session, job)
    services().speaker.say(job.id, job.attempt, "state")
    services().broker.wake(job.kind, job.id)
    return reply


@jobs.post("/jobs/<id>/lift", 202, PromotedJobReply)
def lift_job(path: IdPath) -> Response:
    """Put a job above all others, whoever was served less (admins only).

    Its owner's caps hold, and once it runs it yields to nobody.
    """
    require_admin()
    with writing() as session:
        job_id = as_id("job", path.id)
        try:
            services().queue.lift(session.connection(), job_id)
        except NoSuchJob:
            raise NotFound("job", path.id) from None
        job = session.get_one(Job, job_id)
        return answer(PromotedJobReply(id=job.id, kind=job.kind, status=job.status), 202)


@jobs.post("/jobs/<id>/rerun", 202, JobReply)
def rerun_job(path: IdPath, header: IdempotencyHeader) -> Response:
    """Ask for the same again: the same numbers and seed, as a new job.

    A training makes a new model. A generation looks `best` and `latest` up anew.
    """
    return create_once(header, b"", lambda session: _rerun(session, path.id)).answer()


@jobs.get("/jobs/<id>/texts", Listing[TextReply])
def list_job_texts(path: IdPath, query: JobTextsPage) -> Response:
    """The texts of a job in their order, those that a training wrote as samples included.

    Who watches a training asks again with `after` set to the last step seen.
    """
    with reading() as session:
        job = own_job(session, path.id)
        statement = select(GeneratedText).where(GeneratedText.job_id == job.id)
        if query.after is not None:
            statement = statement.where(GeneratedText.step > query.after)
        if query.temperature is not None:
            statement = statement.where(GeneratedText.temperature == query.temperature)
        rows, next_cursor = read_page(session, statement, TEXTS, query)
    return page_response((text_reply(row[0]) for row in rows), next_cursor)


def _changed(session: Session, job: Job) -> Response:
    session.refresh(job)
    return answer(job_reply(session, job), 202, {"Location": f"/v1/jobs/{job.id}"})


def _rerun(session: Session, reference: str) -> Creation:
    job = own_job(session, reference)
    if job.kind == "train":
        return _retrain(session, job)
    model = _still_there(session, Model, job.model_id, "model")
    return submit(
        session,
        Submission("generate", current_user().id, job.name, job.spec, model.id, model.corpus_id),
    )


def _retrain(session: Session, job: Job) -> Creation:
    corpus = _still_there(session, Corpus, job.corpus_id, "corpus")
    before = session.get(Model, job.model_id) if job.model_id is not None else None
    name, visibility = (before.name, before.visibility) if before else (job.name, "private")
    origin = None
    if before is not None and before.from_checkpoint_id is not None:
        try:
            origin = base_checkpoint.find(session, before.from_checkpoint_id)
        except NotFound:
            raise Conflict(
                "the checkpoint that this job began from is gone, or not yours to see any more: "
                "it can't run again"
            ) from None
    return submit_model(session, corpus, TrainSpec(**job.spec), name, visibility, origin=origin)


def _still_there(session: Session, table: type[Shareable], reference: str | None, what: str) -> Shareable:
    try:
        return visible(session, table, reference or "", lock="use")
    except NotFound:
        raise Conflict(
            f"the {what} of this job is gone, or not yours to see any more: it can't run again"
        ) from None
