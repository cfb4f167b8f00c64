"""What could be deleted from a database, and its deletion: `quire gc`.

This module needs the extra `server`, so commands import it only where they use it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, not_, select
from sqlalchemy.exc import SQLAlchemyError

from quire.errors import CannotStart
from shared.blobs import NEEDED
from shared.clock import database_now
from shared.database import make_engine, reading
from shared.queue import Queue
from shared.queue.maintenance.blob_sweep import UNNEEDED_KEPT_SECONDS, sweep_blobs
from shared.queue.maintenance.row_retention import OldRows, forget_old_rows, old_rows
from shared.settings import Settings
from shared.tables import Blob

BLOBS = "bytes that no row needs"
#: As many transactions as it takes.
ALL_BATCHES = 1_000_000


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that could go.

    Attributes:
        what: What it is.
        kept: For how long it is kept, in words.
        count: How many rows or blobs there are.
        size_bytes: How large they are; None if that is not known.
    """

    what: str
    kept: str
    count: int
    size_bytes: int | None = None


def find_garbage(settings: Settings) -> list[Garbage]:
    """Say what could go, and delete nothing.

    Raises:
        CannotStart: The database can't be read.
    """
    engine = make_engine(settings.database, pool_size=1)
    try:
        with reading(engine) as connection:
            now = database_now(connection)
            found = [
                Garbage(rows.what, _kept(rows), rows.count(connection))
                for rows in old_rows(settings, now)
            ]
            old = now - timedelta(seconds=UNNEEDED_KEPT_SECONDS)
            count, size = connection.execute(
                select(func.count(), func.sum(Blob.size_bytes)).where(
                    Blob.touched_at < old, not_(NEEDED)
                )
            ).one()
            return [*found, Garbage(BLOBS, "1 hour", count, size or 0)]
    except SQLAlchemyError as error:
        raise _unusable(error) from None
    finally:
        engine.dispose()


def collect_garbage(settings: Settings) -> Iterator[str]:
    """Delete it in small transactions, while the server may run.

    Yields:
        What was done, in words.

    Raises:
        CannotStart: The database can't be used.
    """
    engine = make_engine(settings.database, pool_size=2)
    try:
        yield f"{forget_old_rows(engine, settings, ALL_BATCHES):,} old rows"
        yield f"{Queue(engine, settings).retire_checkpoints():,} superfluous checkpoints"
        swept = 0
        while some := sweep_blobs(engine):
            swept += some
        yield f"{swept:,} blobs"
    except SQLAlchemyError as error:
        raise _unusable(error) from None
    finally:
        engine.dispose()


def _kept(rows: OldRows) -> str:
    return f"for ever ({rows.setting})" if rows.days is None else f"{rows.days:g} days"


def _unusable(error: SQLAlchemyError) -> CannotStart:
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return CannotStart(
        f"the database can't be used: {reason}. Has it been migrated (`quire migrate`)?"
    )
