"""Blobs in the database: bytes named by their SHA-256, in rows of 1 MiB.

The rows are written in short transactions, so that a large checkpoint holds no
lock for long. The caller then publishes them in one small transaction, together
with the row that refers to them. What a refusal or a deletion leaves is dropped at once, unless
somebody has stored the same bytes since; a sweep takes what a lost process has left behind.
An object store can replace the tables behind the same functions.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine, delete, exists, func, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.clock import Clock, database_now
from shared.database import reading
from shared.tables import CHUNK_BYTES, Blob, BlobChunk, Checkpoint, Corpus
from shared.upsert import insert_or_replace

#: How often bytes are written again that others drop meanwhile.
ATTEMPTS = 10
#: The condition that a row refers to a blob.
NEEDED = or_(
    exists().where(Corpus.sha256 == Blob.sha256), exists().where(Checkpoint.sha256 == Blob.sha256)
)

log = structlog.get_logger(__name__)


class MissingBlob(Exception):
    """A blob is missing or incomplete."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        super().__init__(f"the blob with SHA-256 {sha256} is not in the database, or incomplete")


class CorruptBlob(Exception):
    """The stored bytes no longer match their SHA-256."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        super().__init__(f"the stored bytes no longer have the SHA-256 {sha256}")


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes that are not in memory, to be read more than once.

    Attributes:
        size_bytes: How many they are.
        read: Returns the bytes from a position on, so many of them.
    """

    size_bytes: int
    read: Callable[[int, int], bytes]

    @classmethod
    def of(cls, data: bytes) -> "Source":
        """Bytes that are in memory after all."""
        return cls(len(data), lambda start, count: data[start : start + count])

    def pieces(self) -> Iterator[bytes]:
        """The bytes in pieces as long as a chunk."""
        for start in range(0, self.size_bytes, CHUNK_BYTES):
            yield self.read(start, CHUNK_BYTES)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A blob that a deleted row needed, or a refused one would have.

    Attributes:
        sha256: Names the bytes.
        touched_at: No earlier than this process or row has touched them last.
    """

    sha256: str
    touched_at: datetime


def store(engine: Engine, data: bytes) -> str:
    """Write bytes that no row refers to yet; return their SHA-256.

    Storing the same bytes again writes only chunks that are missing or damaged. Two writers may
    store the same bytes at the same time.
    """
    return _store(engine, Source.of(data)).sha256


@contextmanager
def stored(engine: Engine, data: bytes | Source) -> Iterator[str]:
    """Store bytes for the row that the block writes, and drop them if it fails.

    Yields:
        Their SHA-256.
    """
    leftover = _store(engine, Source.of(data) if isinstance(data, bytes) else data)
    try:
        yield leftover.sha256
    except IntegrityError:
        drop(engine, [leftover])
        raise
    except (DBAPIError, PoolTimeout):
        # The database may be away, and the outcome of the transaction unknown.
        raise
    except Exception:
        drop(engine, [leftover])
        raise


def drop(engine: Engine, leftovers: Iterable[Leftover]) -> int:
    """Delete blobs that no row needs, unless somebody has stored or published them since.

    A writer that has begun to store the same bytes earlier notices, and stores them again. A
    failure is only logged: the sweep will delete them.

    Returns:
        How many were deleted.
    """
    count = 0
    for leftover in leftovers:
        try:
            with engine.begin() as connection:
                count += _drop(connection, leftover)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("blob_left_to_sweep", sha256=leftover.sha256, reason=type(error).__name__)
    return count


def _drop(connection: Connection, leftover: Leftover) -> bool:
    this = Blob.sha256 == leftover.sha256
    touched_at = connection.scalar(select(Blob.touched_at).where(this).with_for_update())
    if touched_at is None or touched_at > leftover.touched_at:
        return False
    # A statement after the lock sees the rows that were committed during the wait for it.
    if connection.scalar(select(NEEDED).where(this)):
        return False
    connection.execute(delete(BlobChunk).where(BlobChunk.sha256 == leftover.sha256))
    connection.execute(delete(Blob).where(this))
    return True


def _store(engine: Engine, data: Source) -> Leftover:
    digest = hashlib.sha256()
    for piece in data.pieces():
        digest.update(piece)
    sha256 = digest.hexdigest()
    for _ in range(ATTEMPTS):
        try:
            return Leftover(sha256, _write(engine, sha256, data))
        except IntegrityError:
            # Another process has dropped the blob between two pieces.
            continue
    raise MissingBlob(sha256)


def _write(engine: Engine, sha256: str, data: Source) -> datetime:
    """Write bytes; return when the write began."""
    with engine.begin() as connection:
        now = database_now(connection)
        # Writing the bytes again renews their age, so that a sweep spares them.
        insert_or_replace(
            connection, Blob, {"sha256": sha256, "size_bytes": data.size_bytes, "touched_at": now}
        )
        stored = set(
            connection.scalars(select(BlobChunk.position).where(BlobChunk.sha256 == sha256))
        )
    for position, piece in enumerate(data.pieces()):
        if position in stored and _chunk(engine, sha256, position) == piece:
            continue
        with engine.begin() as connection:
            insert_or_replace(
                connection, BlobChunk, {"sha256": sha256, "position": position, "data": piece}
            )
    return now


def publish(connection: Connection, sha256: str, clock: Clock = database_now) -> None:
    """Publish a stored blob, in the transaction that writes the row referring to it.

    Args:
        connection: The transaction.
        sha256: Names the bytes.
        clock: Tells the time. The row's `created_at` is later by the same clock.

    Raises:
        MissingBlob: The blob is missing or incomplete (it was dropped: store it again).
    """
    size = connection.scalar(select(Blob.size_bytes).where(Blob.sha256 == sha256).with_for_update())
    count = connection.scalar(
        select(func.count()).select_from(BlobChunk).where(BlobChunk.sha256 == sha256)
    )
    if size is None or count != _chunks(size):
        raise MissingBlob(sha256)
    connection.execute(
        update(Blob).where(Blob.sha256 == sha256).values(touched_at=clock(connection))
    )


def load(engine: Engine, sha256: str) -> bytes:
    """Return all bytes of a blob, checked against its SHA-256.

    Raises:
        MissingBlob: The blob is missing or incomplete.
        CorruptBlob: Its bytes have changed.
    """
    digest = hashlib.sha256()
    pieces = []
    for piece in chunks(engine, sha256):
        digest.update(piece)
        pieces.append(piece)
    if digest.hexdigest() != sha256:
        raise CorruptBlob(sha256)
    return b"".join(pieces)


def chunks(engine: Engine, sha256: str) -> Iterator[bytes]:
    """Yield the bytes of a blob chunk by chunk, each read in its own transaction.

    Raises:
        MissingBlob: The blob is missing or incomplete.
    """
    with reading(engine) as connection:
        size = connection.scalar(select(Blob.size_bytes).where(Blob.sha256 == sha256))
    if size is None:
        raise MissingBlob(sha256)
    for position in range(_chunks(size)):
        piece = _chunk(engine, sha256, position)
        if piece is None:
            raise MissingBlob(sha256)
        yield piece


def _chunk(engine: Engine, sha256: str, position: int) -> bytes | None:
    query = select(BlobChunk.data).where(BlobChunk.sha256 == sha256, BlobChunk.position == position)
    with reading(engine) as connection:
        return connection.scalar(query)


def _chunks(size_bytes: int) -> int:
    return -(-size_bytes // CHUNK_BYTES)
