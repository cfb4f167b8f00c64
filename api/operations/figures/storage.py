"""What is stored on the server, and how much of the database's disk is free."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select, text

from shared.tables import Blob, Checkpoint, Corpus


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that are stored, and bytes that are free.

    Attributes:
        corpora: Bytes of corpora, as users count them.
        checkpoints: Bytes of checkpoints, as users count them: those in several models count often.
        blobs: Bytes of what is kept of both, each content once.
        database: Bytes of the whole database with its indices; None for one in memory.
        disk: Bytes of the database's disk; None where it is not known.
        disk_free: Free bytes of it; None where it is not known.
    """

    corpora: int
    checkpoints: int
    blobs: int
    database: int | None
    disk: int | None
    disk_free: int | None


def measure_storage(connection: Connection) -> Storage:
    """Measure what is stored.

    Only SQLite's disk is known: PostgreSQL tells no client how much of its disk is free.
    """
    sums = (
        select(func.sum(Corpus.bytes)),
        select(func.sum(Checkpoint.size_bytes)),
        select(func.sum(Blob.size_bytes)),
    )
    corpora, checkpoints, blobs = (int(connection.scalar(each) or 0) for each in sums)
    database = disk = disk_free = None
    path = connection.engine.url.database
    if connection.dialect.name == "postgresql":
        size = text("SELECT pg_database_size(current_database())")
        database = int(connection.scalar(size) or 0)
    elif path:
        database = Path(path).stat().st_size
        usage = shutil.disk_usage(Path(path).parent)
        disk, disk_free = usage.total, usage.free
    return Storage(corpora, checkpoints, blobs, database, disk, disk_free)
