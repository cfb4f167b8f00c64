"""Whether a checkpoint is there, and whether a worker could load it."""

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from api.errors import NetworkTooLarge, NoCheckpointYet, NotFound
from api.operations.texts.text_requests import TextRequest, UsableModel
from api.permissions import own_job
from api.services import services
from shared.checkpoint_aliases import find_checkpoint, resolve
from shared.scheduling import network_memory
from shared.scheduling.network_memory import check_network
from shared.tables import TERMINAL_STATUSES, Checkpoint, Job


def refuse_network_of(session: Session, model_id: str, reference: str) -> None:
    """Refuse a checkpoint of a model that no worker could load; one that is gone is left alone.

    Raises:
        NetworkTooLarge: Loading it would take more memory than a worker has.
    """
    checkpoint_id = resolve(session.connection(), model_id, reference)
    if checkpoint_id is not None:
        size = select(Checkpoint.size_bytes).where(Checkpoint.id == checkpoint_id)
        refuse_network(model_id, session.scalar(size) or 0)


def refuse_network(model_id: str, checkpoint_bytes: int) -> None:
    """Refuse a network that no worker could load.

    Raises:
        NetworkTooLarge: It would take more memory than a worker has.
    """
    try:
        check_network(checkpoint_bytes, services().settings.generate_memory_bytes)
    except network_memory.NetworkTooLarge as error:
        advice = "Train a smaller one, or ask the server's admin"
        raise NetworkTooLarge("model", model_id, f"{error}. {advice}") from None


def followed_training(session: Session, model: UsableModel, request: TextRequest) -> Job | None:
    """Return the model's training if the job waits for it: it will have a checkpoint."""
    after = None if request.scheduling is None else request.scheduling.after
    if after is None or request.checkpoint not in ("best", "latest"):
        return None
    job = own_job(session, after)
    return job if job.kind == "train" and job.model_id == model.id else None


def has_checkpoint(connection: Connection, model: UsableModel, request: TextRequest) -> bool:
    """Return whether a request's checkpoint is there; one given by its id stays until the commit.

    Raises:
        NetworkTooLarge: It takes more memory than a worker may use.
    """
    checkpoint = find_checkpoint(connection, model.id, request.checkpoint, use=True)
    if checkpoint is not None:
        refuse_network(model.id, checkpoint.size_bytes)
    return checkpoint is not None


def refuse_without_checkpoint(session: Session, model: UsableModel, request: TextRequest) -> None:
    """Refuse a request for a checkpoint that is not there, or that no worker could load.

    Raises:
        NotFound: The model has no such checkpoint.
        NoCheckpointYet: It has none at all.
        NetworkTooLarge: The checkpoint takes more memory than a worker may use.
    """
    connection = session.connection()
    if has_checkpoint(connection, model, request):
        return
    if resolve(connection, model.id, "latest") is not None:
        raise NotFound(f"checkpoint of model {model.name!r}", request.checkpoint)
    job = session.scalar(
        select(Job).where(
            Job.model_id == model.id, Job.kind == "train", Job.user_id == request.user.id
        )
    )
    if job is None:
        raise NoCheckpointYet(
            f"model {model.name!r} has no checkpoint. Wait for its training to store one"
        )
    advice = (
        "Train again"
        if job.status in TERMINAL_STATUSES
        else "Wait for its first epoch, or set `after` to this job"
    )
    raise NoCheckpointYet(
        f"model {model.name!r} has no checkpoint, and its training job {job.id} is {job.status}. "
        f"{advice}"
    )
