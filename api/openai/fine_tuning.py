"""``/openai/v1/fine_tuning/jobs``: trainings, in the words of OpenAI's API."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flask import Response
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from api.errors import NotFound
from api.http.idempotency import create_once
from api.http.openapi import returns_non_json
from api.http.rate_limits import creates
from api.http.responses import raw_json_response
from api.openai.lists import ListQuery, Page, page_of, read_rows
from api.openai.model_ids import names_of
from api.openai.resource import OpenAiResource
from api.openai.training import FineTuningRequest
from api.operations.trainings.training import enqueue_training
from api.permissions import current_user, digests_of_visible, not_of_deleted_model, own_job
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import IdPath
from api.schemas.replies import Reply
from api.services import reading, services, writing
from shared.queue.types import JobEnd
from shared.tables import Checkpoint, Job, JobEvent, Model

fine_tuning = OpenAiResource("openai_fine_tuning", "Train networks")

#: What the history of a job is called here; other events keep their names.
MESSAGES = {
    "submitted": "Created fine-tuning job",
    "claimed": "Fine-tuning job started",
    "checkpoint": "Checkpoint created",
    "succeeded": "The job has successfully completed",
    "failed": "The job failed",
    "cancelled": "The job was cancelled",
    "paused": "The job was paused",
}
LEVELS = {"failed": "error", "cancelled": "warn"}


class JobError(Reply):
    """Why a training failed."""

    code: str
    message: str
    param: None = None


class UsedHyperparameters(Reply):
    """The numbers of a training."""

    n_epochs: int | Literal["auto"]
    batch_size: int
    learning_rate_multiplier: Literal["auto"] = "auto"


class FineTuningJob(Reply):
    """A training."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    status: str
    model: str
    fine_tuned_model: str | None
    error: JobError | None
    hyperparameters: UsedHyperparameters
    organization_id: str
    result_files: list[str]
    seed: int
    trained_tokens: None = None
    training_file: str
    validation_file: None = None
    integrations: list[Any]
    method: dict[str, Any]


class JobEventObject(Reply):
    """Something that happened to a training."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: Literal["message"] = "message"
    data: dict[str, Any]


class CheckpointMetrics(Reply):
    """The losses of a checkpoint, in nats per token."""

    step: int
    train_loss: float | None
    valid_loss: float | None
    full_valid_loss: float | None


class CheckpointObject(Reply):
    """A checkpoint of a training."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


@fine_tuning.post("/fine_tuning/jobs", 200, FineTuningJob)
@returns_non_json
@creates
def create_job(header: IdempotencyHeader, body: FineTuningRequest) -> Response:
    """Train a network: a new one of a preset, or a model's further."""
    created = create_once(
        header, body, lambda session: enqueue_training(session, body.training(session))
    )
    return _one(created.body["id"])


@fine_tuning.get("/fine_tuning/jobs", Page[FineTuningJob])
@returns_non_json
def list_jobs(query: ListQuery) -> Response:
    """List your trainings, newest first."""
    statement = select(Job).where(Job.user_id == current_user().id, Job.kind == "train")
    with reading() as session:
        rows, has_more = read_rows(session, statement, Job.id, query)
        return page_of(_objects(session, [row[0] for row in rows]), has_more)


@fine_tuning.get("/fine_tuning/jobs/<id>", FineTuningJob)
@returns_non_json
def read_job(path: IdPath) -> Response:
    """Read one training."""
    return _one(path.id)


@fine_tuning.post("/fine_tuning/jobs/<id>/cancel", 200, FineTuningJob)
@returns_non_json
def cancel_job(path: IdPath) -> Response:
    """Cancel a training. Its checkpoints stay."""
    job = _control(path.id, services().queue.cancel)
    services().end_publisher.publish([JobEnd(job.id, job.attempt)])
    return _one(job.id)


@fine_tuning.post("/fine_tuning/jobs/<id>/pause", 200, FineTuningJob)
@returns_non_json
def pause_job(path: IdPath) -> Response:
    """Pause a training; a running one first stores a checkpoint."""
    return _one(_control(path.id, services().queue.pause).id)


@fine_tuning.post("/fine_tuning/jobs/<id>/resume", 200, FineTuningJob)
@returns_non_json
def resume_job(path: IdPath) -> Response:
    """Resume a paused training."""
    job = _control(path.id, services().queue.resume)
    services().broker.wake_soon("train", job.id)
    return _one(job.id)


@fine_tuning.get("/fine_tuning/jobs/<id>/events", Page[JobEventObject])
@returns_non_json
def list_events(path: IdPath, query: ListQuery) -> Response:
    """List what happened to a training, newest first."""
    with reading() as session:
        job = _own_training(session, path.id)
        statement = select(JobEvent).where(JobEvent.job_id == job.id)
        rows, has_more = read_rows(session, statement, JobEvent.id, query)
        return page_of([_event(row[0]) for row in rows], has_more)


@fine_tuning.get("/fine_tuning/jobs/<id>/checkpoints", Page[CheckpointObject])
@returns_non_json
def list_checkpoints(path: IdPath, query: ListQuery) -> Response:
    """List the checkpoints of a training, newest first. Each is a model."""
    with reading() as session:
        job = _own_training(session, path.id)
        statement = select(Checkpoint).where(
            Checkpoint.job_id == job.id, not_of_deleted_model(Checkpoint.model_id)
        )
        rows, has_more = read_rows(session, statement, Checkpoint.id, query)
        model = job.model_id or ""
        name = names_of(session, [model]).get(model, model)
        return page_of([_checkpoint(row[0], name) for row in rows], has_more)


def _own_training(session: Session, reference: str) -> Job:
    job = own_job(session, reference)
    if job.kind != "train":
        raise NotFound("job", reference)
    return job


def _one(reference: str) -> Response:
    with reading() as session:
        [found] = _objects(session, [_own_training(session, reference)])
    return raw_json_response(found.model_dump(), 200)


def _control(reference: str, change: Callable[[Connection, str], object]) -> Job:
    with writing() as session:
        job = _own_training(session, reference)
        change(session.connection(), job.id)
    services().event_publisher.publish(job.id, job.attempt, "state")
    return job


def _objects(session: Session, jobs: Sequence[Job]) -> list[FineTuningJob]:
    names = names_of(session, [job.model_id for job in jobs if job.model_id])
    bases = _bases(session, jobs)
    corpora = digests_of_visible(session, {job.corpus_id for job in jobs if job.corpus_id})
    return [
        _object(job, names, bases.get(job.id), job.corpus_id if job.corpus_id in corpora else None)
        for job in jobs
    ]


def _bases(session: Session, jobs: Sequence[Job]) -> dict[str, str]:
    """The checkpoints that trainings went on from, as far as the user may see their models."""
    rows = session.execute(
        select(Job.id, Checkpoint.model_id, Checkpoint.step)
        .join(Model, Job.model_id == Model.id)
        .join(Checkpoint, Model.from_checkpoint_id == Checkpoint.id)
        .where(Job.id.in_([job.id for job in jobs]), Model.deleted_at.is_(None))
    ).all()
    names = names_of(session, {model for _, model, _ in rows})
    return {job: f"{names[model]}@{step}" for job, model, step in rows if model in names}


def _object(
    job: Job, names: Mapping[str, str], base: str | None, corpus: str | None
) -> FineTuningJob:
    spec = job.spec
    used = UsedHyperparameters(n_epochs=spec["epochs"] or "auto", batch_size=spec["batch_size"])
    error = job.error and JobError(
        code=job.error["type"].rpartition("/")[2].replace("-", "_"), message=job.error["detail"]
    )
    method = {"type": "supervised", "supervised": {"hyperparameters": used.model_dump()}}
    return FineTuningJob(
        id=job.id,
        created_at=int(job.created_at.timestamp()),
        finished_at=None if job.finished_at is None else int(job.finished_at.timestamp()),
        estimated_finish=None,
        status=job.status,
        model=base or spec["preset"],
        fine_tuned_model=names.get(job.model_id or "") if job.status == "succeeded" else None,
        error=error or None,
        hyperparameters=used,
        organization_id=current_user().name,
        result_files=[],
        seed=spec["seed"],
        training_file=corpus or "",
        integrations=[],
        method=method,
    )


def _event(event: JobEvent) -> JobEventObject:
    return JobEventObject(
        id=str(event.id),
        created_at=int(event.at.timestamp()),
        level=LEVELS.get(event.type, "info"),
        message=MESSAGES.get(event.type, event.type.replace("_", " ")),
        data={"type": event.type, "attempt": event.attempt},
    )


def _checkpoint(row: Checkpoint, model: str) -> CheckpointObject:
    metrics = CheckpointMetrics(
        step=row.step, train_loss=row.loss, valid_loss=row.val_loss, full_valid_loss=row.val_loss
    )
    return CheckpointObject(
        id=row.id,
        created_at=int(row.created_at.timestamp()),
        fine_tuned_model_checkpoint=f"{model}@{row.step}",
        fine_tuning_job_id=row.job_id,
        step_number=row.step,
        metrics=metrics,
    )
