"""Purge models and corpora that were deleted so long ago that nobody can have them back."""

from datetime import timedelta

from sqlalchemy import Connection, Engine, delete, exists, select
from sqlalchemy.orm import Session

from shared import audit, blobs
from shared.clock import database_now
from shared.tables import Checkpoint, Corpus, Model, User

PURGED_AT_ONCE = 100


def purge_deleted(engine: Engine, kept_days: float) -> int:
    """Purge some models and corpora that were deleted `kept_days` ago or earlier.

    A corpus goes after the last model that was trained on it.

    Returns:
        How many were purged.
    """
    return _purge_models(engine, kept_days) + _purge_corpora(engine, kept_days)


def purge_model_row(connection: Connection, model_id: str) -> list[blobs.Leftover]:
    """Delete a model and its checkpoints; texts stay.

    Returns:
        The checkpoints' bytes, which the caller drops after the commit.
    """
    checkpoints = connection.execute(
        select(Checkpoint.sha256, Checkpoint.created_at).where(Checkpoint.model_id == model_id)
    ).all()
    connection.execute(delete(Model).where(Model.id == model_id))
    return [blobs.Leftover(*row) for row in checkpoints]


def purge_corpus_row(connection: Connection, corpus_id: str) -> list[blobs.Leftover]:
    """Delete a corpus that no model needs.

    Returns:
        Its bytes, which the caller drops after the commit.
    """
    rows = connection.execute(
        delete(Corpus).where(Corpus.id == corpus_id).returning(Corpus.sha256, Corpus.created_at)
    ).all()
    return [blobs.Leftover(*row) for row in rows]


def _purge_models(engine: Engine, kept_days: float) -> int:
    with Session(engine) as session, session.begin():
        connection = session.connection()
        oldest = database_now(connection) - timedelta(days=kept_days)
        # One that somebody has locked is being restored or purged.
        expired = session.execute(
            select(Model.id, User.name)
            .join(User, Model.user_id == User.id)
            .where(Model.deleted_at <= oldest)
            .limit(PURGED_AT_ONCE)
            .with_for_update(of=Model, skip_locked=True)
        ).all()
        leftovers = []
        for model_id, owner in expired:
            leftovers += purge_model_row(connection, model_id)
            resource = ("model", model_id)
            audit.record(session, "model.purged", audit.LOCAL, user=owner, resource=resource)
    blobs.drop(engine, leftovers)
    return len(expired)


def _purge_corpora(engine: Engine, kept_days: float) -> int:
    with Session(engine) as session, session.begin():
        connection = session.connection()
        oldest = database_now(connection) - timedelta(days=kept_days)
        expired = session.execute(
            select(Corpus.id, User.name)
            .join(User, Corpus.user_id == User.id)
            .where(Corpus.deleted_at <= oldest, ~exists().where(Model.corpus_id == Corpus.id))
            .limit(PURGED_AT_ONCE)
            .with_for_update(of=Corpus, skip_locked=True)
        ).all()
        leftovers = []
        for corpus_id, owner in expired:
            leftovers += purge_corpus_row(connection, corpus_id)
            resource = ("corpus", corpus_id)
            audit.record(session, "corpus.purged", audit.LOCAL, user=owner, resource=resource)
    blobs.drop(engine, leftovers)
    return len(expired)
