"""Delete a model with its checkpoints, or a corpus; restore it; or purge it for good.

What was deleted is a missing one to everybody, and counts towards its owner's caps, until it is
purged: when its time is over (shared/queue/maintenance/deleted.py), or at once if its owner says
so.
"""

from sqlalchemy.orm import Session

from api.operations.audit import record
from api.operations.library.dependents import (
    refuse_if_corpus_in_use,
    refuse_if_model_in_use,
    refuse_to_purge_corpus,
)
from api.permissions import current_user, own
from api.services import services, writing
from shared import blobs
from shared.clock import database_now
from shared.queue.maintenance.deleted import purge_corpus_row, purge_model_row
from shared.tables import Corpus, Model


def remove_model(reference: str, *, purge: bool = False) -> None:
    """Delete a model of the current user.

    Args:
        reference: The id from the request.
        purge: Delete it for good, with its checkpoints, and even if it is deleted already.

    Raises:
        NotFound: It does not exist, or the user may not see it.
        Forbidden: It belongs to another user.
        ResourceInUse: An unfinished job needs it, or other users have texts of it.
    """
    purge = purge or not services().settings.deleted_days
    leftovers: list[blobs.Leftover] = []
    with writing() as session:
        model = own(session, Model, reference, deleted=purge)
        refuse_if_model_in_use(session, model)
        user, resource = current_user().name, ("model", model.id)
        if purge:
            leftovers = purge_model_row(session.connection(), model.id)
            record(session, "model.purged", user=user, resource=resource)
        else:
            model.deleted_at = database_now(session.connection())
            record(session, "model.deleted", user=user, resource=resource)
    blobs.drop(services().engine, leftovers)


def remove_corpus(reference: str, *, purge: bool = False) -> None:
    """Delete a corpus of the current user.

    Args:
        reference: The id from the request.
        purge: Delete it for good, and even if it is deleted already.

    Raises:
        NotFound: It does not exist, or the user may not see it.
        Forbidden: It belongs to another user.
        ResourceInUse: A model or an unfinished job needs it.
    """
    purge = purge or not services().settings.deleted_days
    leftovers: list[blobs.Leftover] = []
    with writing() as session:
        corpus = own(session, Corpus, reference, deleted=purge)
        refuse_if_corpus_in_use(session, corpus)
        user, resource = current_user().name, ("corpus", corpus.id)
        if purge:
            refuse_to_purge_corpus(session, corpus)
            leftovers = purge_corpus_row(session.connection(), corpus.id)
            record(session, "corpus.purged", user=user, resource=resource)
        else:
            corpus.deleted_at = database_now(session.connection())
            record(session, "corpus.deleted", user=user, resource=resource)
    blobs.drop(services().engine, leftovers)


def restore_model(session: Session, reference: str) -> Model:
    """Have a deleted model of the current user back, and the user's corpus that it learnt from.

    One that is not deleted stays as it is.

    Raises:
        NotFound: It does not exist, it was purged, or the user may not see it.
        Forbidden: It belongs to another user.
    """
    model = own(session, Model, reference, deleted=True)
    # An imported model has none.
    corpus = model.corpus_id and session.get(Corpus, model.corpus_id, with_for_update=True)
    if corpus and corpus.user_id == current_user().id:
        _restore(session, corpus)
    _restore(session, model)
    return model


def restore_corpus(session: Session, reference: str) -> Corpus:
    """Have a deleted corpus of the current user back. One that is not deleted stays as it is.

    Raises:
        NotFound: It does not exist, it was purged, or the user may not see it.
        Forbidden: It belongs to another user.
    """
    corpus = own(session, Corpus, reference, deleted=True)
    _restore(session, corpus)
    return corpus


def _restore(session: Session, row: Corpus | Model) -> None:
    if row.deleted_at is None:
        return
    row.deleted_at = None
    session.flush()
    if isinstance(row, Model):
        record(session, "model.restored", user=current_user().name, resource=("model", row.id))
    else:
        record(session, "corpus.restored", user=current_user().name, resource=("corpus", row.id))
