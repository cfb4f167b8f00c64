"""Which checkpoints of a training stay, and how the others go.

The newest `keep` stay, the best one, any that a requested text cites or a model began from, and
any that an unfinished generation names by its id or has begun to write with. Texts sampled during
a training keep nothing.

What `best` is to a generation its first claim looks up and remembers. Whoever retires holds the
lock that these claims take, so that a claim either is seen here or comes after, when the rows are
gone. And nothing of a model goes while one of its generations runs.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, delete, exists, func, or_, select

from shared.checkpoint_aliases import resolve
from shared.tables import TERMINAL_STATUSES, Checkpoint, GeneratedText, Job, Model

KEEP = 3
TIDIED_AT_ONCE = 100


def superfluous(connection: Connection, job_id: str, keep: int) -> list[str]:
    """The checkpoints of a training that nobody would miss as far as it alone is concerned."""
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
        # Until one was judged, a loss that explodes goes back to the first.
        kept.add(rows[-1].id)
    return [row.id for row in rows if row.id not in kept]


def retire(connection: Connection, job_id: str, candidates: Collection[str]) -> int:
    """Delete those candidates that nothing holds; under the lock of generations' claims.

    Returns:
        How many went. Their bytes go with the next sweep of blobs.
    """
    model_id = connection.scalar(select(Job.model_id).where(Job.id == job_id))
    writing = exists().where(
        Job.model_id == model_id, Job.kind == "generate", Job.status == "running"
    )
    if connection.scalar(select(writing)):
        return 0
    # Who is about to name one has it locked: it stays for now.
    free = connection.scalars(
        select(Checkpoint.id).where(Checkpoint.id.in_(candidates)).with_for_update(skip_locked=True)
    ).all()
    # Statements after the locks': what was committed while they were waited for is seen.
    named = _named(connection, model_id)
    held = or_(
        exists().where(GeneratedText.checkpoint_id == Checkpoint.id, GeneratedText.requested),
        exists().where(Model.from_checkpoint_id == Checkpoint.id),
    )
    gone = [
        each
        for each in connection.scalars(
            select(Checkpoint.id).where(Checkpoint.id.in_(free), ~held)
        ).all()
        if each not in named
    ]
    if gone:
        connection.execute(delete(Checkpoint).where(Checkpoint.id.in_(gone)))
    return len(gone)


def overfull(connection: Connection) -> list[tuple[str, int]]:
    """Some trainings that have more checkpoints than they keep, and how many they keep.

    Others come with the next look: some have more for good, because of a best that is not new or
    of texts, and those must not stand in the way of the rest for ever.
    """
    rows = connection.execute(
        select(Job.id, Job.spec)
        .join(Checkpoint, Checkpoint.job_id == Job.id)
        .group_by(Job.id)
        .having(func.count() > func.coalesce(Job.spec["keep"].as_integer(), KEEP))
        .order_by(func.random())
        .limit(TIDIED_AT_ONCE)
    ).all()
    return [(row.id, kept(row.spec)) for row in rows]


def kept(spec: dict[str, Any]) -> int:
    """How many of the newest checkpoints a training keeps."""
    return int(spec.get("keep", KEEP))


def _named(connection: Connection, model_id: str | None) -> set[str | None]:
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
