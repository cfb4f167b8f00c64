"""Retention of checkpoints: which ones of a training stay, and how the others are deleted.

These stay: the newest `keep`, the best one, those that a requested text cites or a model began
from, and those that an unfinished generation names by id or has begun to use. Texts sampled
during a training protect nothing.

A generation's first claim looks up `best` and stores what it found. Deletion holds the lock that
such claims take: a claim is either seen here, or comes after the rows are gone. No checkpoint of
a model is deleted while one of the model's generations runs.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, delete, exists, func, or_, select

from shared import blobs
from shared.checkpoint_aliases import resolve
from shared.queue.base import QueueBase
from shared.queue.locks import serialise_claims
from shared.tables import TERMINAL_STATUSES, Checkpoint, GeneratedText, Job, Model

DEFAULT_KEEP = 3
TRAININGS_AT_ONCE = 100


class CheckpointRetention(QueueBase):
    """Deletion of checkpoints that were still in use when newer ones replaced them."""

    def retire_checkpoints(self) -> int:
        """Delete superfluous checkpoints of some trainings.

        Returns:
            How many were deleted.
        """
        with self.engine.begin() as connection:
            trainings = _over_limit(connection)
        deleted = 0
        for job_id, keep in trainings:
            with self.engine.begin() as connection:
                retired = retire_superfluous(connection, job_id, keep)
            blobs.drop(self.engine, retired)
            deleted += len(retired)
        return deleted


def retire_superfluous(connection: Connection, job_id: str, keep: int) -> list[blobs.Leftover]:
    """Delete the superfluous checkpoints of a training that nothing uses.

    Returns:
        Their bytes, which the caller drops after the commit.
    """
    superfluous = _superfluous(connection, job_id, keep)
    if not superfluous:
        return []
    serialise_claims(connection, "generate")
    return _delete_unused(connection, job_id, superfluous)


def checkpoints_to_keep(spec: dict[str, Any]) -> int:
    """How many of its newest checkpoints a training keeps."""
    return int(spec.get("keep", DEFAULT_KEEP))


def _superfluous(connection: Connection, job_id: str, keep: int) -> list[str]:
    """Return the checkpoints that the training itself no longer needs."""
    rows = connection.execute(
        select(Checkpoint.id, Checkpoint.model_id, Checkpoint.val_loss)
        .where(Checkpoint.job_id == job_id)
        .order_by(Checkpoint.step.desc())
    ).all()
    if len(rows) <= keep:
        return []
    kept = {row.id for row in rows[:keep]}
    kept.add(resolve(connection, rows[0].model_id, "best"))
    if all(row.val_loss is None for row in rows):
        # Before the first validation, a training that diverges rolls back to its first checkpoint.
        kept.add(rows[-1].id)
    return [row.id for row in rows if row.id not in kept]


def _delete_unused(
    connection: Connection, job_id: str, superfluous: Collection[str]
) -> list[blobs.Leftover]:
    """Delete those checkpoints that nothing uses, and return their bytes.

    Call it under the lock of generations' claims.
    """
    model_id = connection.scalar(select(Job.model_id).where(Job.id == job_id))
    generating = exists().where(
        Job.model_id == model_id, Job.kind == "generate", Job.status == "running"
    )
    if connection.scalar(select(generating)):
        return []
    # A row that another transaction has locked is about to be used: it stays for now.
    free = connection.scalars(
        select(Checkpoint.id)
        .where(Checkpoint.id.in_(superfluous))
        .with_for_update(skip_locked=True)
    ).all()
    # Statements after the locks see what was committed during the wait for them.
    named = _named_by_generations(connection, model_id)
    cited = or_(
        exists().where(GeneratedText.checkpoint_id == Checkpoint.id, GeneratedText.requested),
        exists().where(Model.from_checkpoint_id == Checkpoint.id),
    )
    uncited = connection.scalars(select(Checkpoint.id).where(Checkpoint.id.in_(free), ~cited))
    unused = [checkpoint_id for checkpoint_id in uncited if checkpoint_id not in named]
    if not unused:
        return []
    retired = connection.execute(
        delete(Checkpoint)
        .where(Checkpoint.id.in_(unused))
        .returning(Checkpoint.sha256, Checkpoint.created_at)
    )
    return [blobs.Leftover(row.sha256, row.created_at) for row in retired]


def _over_limit(connection: Connection) -> list[tuple[str, int]]:
    """Return some trainings that have more checkpoints than they keep, and how many they keep.

    They come in random order: some trainings stay over their limit for good, because of an old
    best checkpoint or of texts, and must not hold up the others for ever.
    """
    rows = connection.execute(
        select(Job.id, Job.spec)
        .join(Checkpoint, Checkpoint.job_id == Job.id)
        .group_by(Job.id)
        .having(func.count() > func.coalesce(Job.spec["keep"].as_integer(), DEFAULT_KEEP))
        .order_by(func.random())
        .limit(TRAININGS_AT_ONCE)
    ).all()
    return [(row.id, checkpoints_to_keep(row.spec)) for row in rows]


def _named_by_generations(connection: Connection, model_id: str | None) -> set[str | None]:
    rows = connection.execute(
        select(Job.spec["checkpoint"].as_string(), Job.checkpoint_id)
        .distinct()
        .where(
            Job.model_id == model_id,
            Job.kind == "generate",
            Job.status.not_in(TERMINAL_STATUSES),
        )
    )
    return {reference for row in rows for reference in row}
