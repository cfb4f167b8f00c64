"""Run a job again with the same spec, as a new job."""

from sqlalchemy.orm import Session

from api.errors import Conflict, NotFound
from api.http.idempotency import Creation
from api.operations.submission import submit
from api.operations.texts.excerpts import refuse_nearest, refuse_random_prompt
from api.operations.texts.usable_checkpoints import refuse_network_of
from api.operations.trainings.base_checkpoint import find_base_checkpoint
from api.operations.trainings.training import enqueue_model
from api.permissions import Shareable, current_user, own_job, visible
from shared.queue.types import Submission
from shared.specs.training import TrainSpec
from shared.tables import Corpus, Job, Model


def rerun(session: Session, job_id: str) -> Creation:
    """Submit a job of the current user again.

    Raises:
        NotFound: The user has no job with this id.
        Conflict: What it needs was deleted, or is no longer shared with the user.
        Invalid: Its random prompts come from a corpus that is not shown any more.
        NetworkTooLarge: No worker could load its network.
    """
    job = own_job(session, job_id)
    if job.kind == "train":
        return _rerun_training(session, job)
    model = _load(session, Model, job.model_id, "model")
    refuse_network_of(session, model.id, job.checkpoint_id or job.spec["checkpoint"])
    corpus_id = model.corpus_id
    if job.spec.get("fitting") is not None:
        corpus_id = _load(session, Corpus, job.corpus_id, "corpus").id
    elif job.spec["prompt"] is None:  # of a model of items it is empty
        refuse_random_prompt(session, model.id, current_user())
    if job.spec.get("nearest"):
        refuse_nearest(session, model.id, current_user())
    return submit(
        session,
        Submission("generate", current_user().id, job.name, job.spec, model.id, corpus_id),
    )


def _rerun_training(session: Session, job: Job) -> Creation:
    corpus = _load(session, Corpus, job.corpus_id, "corpus")
    model = session.get(Model, job.model_id) if job.model_id is not None else None
    if model is not None and model.deleted_at is not None:
        model = None
    name, visibility = (model.name, model.visibility) if model else (job.name, "private")
    base = None
    if model is not None and model.from_checkpoint_id is not None:
        try:
            base = find_base_checkpoint(session, model.from_checkpoint_id)
        except NotFound:
            raise _unavailable("base checkpoint") from None
    return enqueue_model(session, corpus, TrainSpec(**job.spec), name, visibility, base=base)


def _load(
    session: Session, table: type[Shareable], reference: str | None, resource: str
) -> Shareable:
    try:
        return visible(session, table, reference or "", lock="use")
    except NotFound:
        raise _unavailable(resource) from None


def _unavailable(resource: str) -> Conflict:
    return Conflict(
        f"the {resource} of this job was deleted or is no longer shared with you, so the job "
        "can't run again"
    )
