"""Blobs in the database: bytes named by their SHA-256, in rows of 1 MiB.

The rows are written in short transactions, so that a large checkpoint holds no
lock for long. The caller then publishes them in one small transaction, together
with the row that refers to them. Blobs that were never published are swept later.
An object store can replace the tables behind the same functions.
"""

import hashlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, func, select, update

from shared.clock import database_now
from shared.database import reading
from shared.tables import CHUNK_BYTES, Blob, BlobChunk
from shared.upsert import insert_or_replace

UNREFERENCED_KEPT_SECONDS = 3600
SWEEP_BATCH = 100


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


def store(engine: Engine, data: bytes) -> str:
    """Write bytes that no row refers to yet; return their SHA-256.

    Storing the same bytes again writes only chunks that are missing or damaged. Two writers may
    store the same bytes at the same time.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    with engine.begin() as connection:
        now = database_now(connection)
        # Writing the bytes again renews their age, so that a sweep spares them.
        insert_or_replace(
            connection, Blob, {"sha256": sha256, "size_bytes": len(data), "touched_at": now}
        )
        stored = set(
            connection.scalars(select(BlobChunk.position).where(BlobChunk.sha256 == sha256))
        )
    for position in range(_chunks(len(data))):
        piece = data[position * CHUNK_BYTES : (position + 1) * CHUNK_BYTES]
        if position in stored and _chunk(engine, sha256, position) == piece:
            continue
        with engine.begin() as connection:
            insert_or_replace(
                connection, BlobChunk, {"sha256": sha256, "position": position, "data": piece}
            )
    return sha256


def publish(connection: Connection, sha256: str) -> None:
    """Publish a stored blob, in the transaction that writes the row referring to it.

    Raises:
        MissingBlob: The blob is missing or incomplete (a sweep took it: store it again).
    """
    size = connection.scalar(select(Blob.size_bytes).where(Blob.sha256 == sha256).with_for_update())
    count = connection.scalar(
        select(func.count()).select_from(BlobChunk).where(BlobChunk.sha256 == sha256)
    )
    if size is None or count != _chunks(size):
        raise MissingBlob(sha256)
    connection.execute(
        update(Blob).where(Blob.sha256 == sha256).values(touched_at=database_now(connection))
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
