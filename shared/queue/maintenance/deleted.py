"""Purge models and corpora that were deleted so long ago that nobody can restore them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, select
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
    unused = ~exists().where(Model.corpus_id == Corpus.id)
    models = _purge(engine, kept_days, Model, purge_model_row)
    return models + _purge(engine, kept_days, Corpus, purge_corpus_row, unused)


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


def _purge(
    engine: Engine,
    kept_days: float,
    table: type[Corpus] | type[Model],
    purge_row: Callable[[Connection, str], list[blobs.Leftover]],
    *conditions: ColumnElement[bool],
) -> int:
    kind: Literal["model", "corpus"] = "model" if table is Model else "corpus"
    with Session(engine) as session, session.begin():
        connection = session.connection()
        oldest = database_now(connection) - timedelta(days=kept_days)
        # A row that somebody has locked is being restored or purged.
        expired = session.execute(
            select(table.id, User.name)
            .join(User, table.user_id == User.id)
            .where(table.deleted_at <= oldest, *conditions)
            .limit(PURGED_AT_ONCE)
            .with_for_update(of=table, skip_locked=True)
        ).all()
        leftovers = []
        for row_id, owner in expired:
            leftovers += purge_row(connection, row_id)
            action: audit.Action = "model.purged" if kind == "model" else "corpus.purged"
            audit.record(session, action, audit.LOCAL, user=owner, resource=(kind, row_id))
    blobs.drop(engine, leftovers)
    return len(expired)
