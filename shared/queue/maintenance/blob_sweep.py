"""Delete blobs that no row needs and nobody has touched for a while.

They are those of processes that were lost between two steps; see `shared.blobs.drop`.
"""

from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, select

from shared.blobs import NEEDED
from shared.clock import database_now
from shared.tables import Blob, BlobChunk

UNNEEDED_KEPT_SECONDS = 3600
SWEPT_AT_ONCE = 100


def sweep_blobs(engine: Engine, kept_seconds: float = UNNEEDED_KEPT_SECONDS) -> int:
    """Delete some blobs that no row needs and nobody has touched for `kept_seconds`.

    Returns:
        How many were deleted.
    """
    with engine.begin() as connection:
        oldest: datetime = database_now(connection) - timedelta(seconds=kept_seconds)
        unneeded = list(
            connection.scalars(
                select(Blob.sha256)
                .where(Blob.touched_at < oldest, ~NEEDED)
                .limit(SWEPT_AT_ONCE)
                .with_for_update(skip_locked=True)
            )
        )
        if unneeded:
            connection.execute(delete(BlobChunk).where(BlobChunk.sha256.in_(unneeded)))
            connection.execute(delete(Blob).where(Blob.sha256.in_(unneeded)))
    return len(unneeded)
