"""Delete a model with its checkpoints, or a corpus."""

from sqlalchemy import select

from api.operations.audit import record
from api.operations.dependents import refuse_if_corpus_in_use, refuse_if_model_in_use
from api.permissions import current_user, own
from api.services import services, writing
from shared import blobs
from shared.tables import Checkpoint, Corpus, Model


def remove_model(reference: str) -> None:
    """Delete a model of the current user, and what its checkpoints alone needed.

    Raises:
        NotFound: It does not exist, or the user may not see it.
        Forbidden: It belongs to another user.
        ResourceInUse: An unfinished job needs it, or other users have texts of it.
    """
    with writing() as session:
        model = own(session, Model, reference)
        refuse_if_model_in_use(session, model)
        checkpoints = session.execute(
            select(Checkpoint.sha256, Checkpoint.created_at).where(Checkpoint.model_id == model.id)
        ).all()
        session.delete(model)
        record(session, "model.deleted", user=current_user().name, resource=("model", model.id))
    blobs.drop(services().engine, (blobs.Leftover(*row) for row in checkpoints))


def remove_corpus(reference: str) -> None:
    """Delete a corpus of the current user.

    Raises:
        NotFound: It does not exist, or the user may not see it.
        Forbidden: It belongs to another user.
        ResourceInUse: A model or an unfinished job needs it.
    """
    with writing() as session:
        corpus = own(session, Corpus, reference)
        refuse_if_corpus_in_use(session, corpus)
        session.delete(corpus)
        record(session, "corpus.deleted", user=current_user().name, resource=("corpus", corpus.id))
    blobs.drop(services().engine, [blobs.Leftover(corpus.sha256, corpus.created_at)])
