"""Bytes in the database, named by their SHA-256, in rows of 1 MiB.

The rows are written in short transactions, so that a large checkpoint holds no
lock for long; one small transaction of the caller's then publishes them with the
row that needs them. What was never published is swept away later. An object
store can come behind the same functions.
"""

import hashlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, func, select, update

from shared.clock import database_now
from shared.database import reading
from shared.tables import CHUNK_BYTES, Blob, BlobChunk
from shared.upsert import insert_or_replace


class MissingBlob(Exception):
    """Bytes that a row names are not there, or not all of them."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        super().__init__(f"the bytes with SHA-256 {sha256} are not in the database")


class CorruptBlob(Exception):
    """Bytes came back other than they were stored."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        super().__init__(f"the stored bytes no longer have the SHA-256 {sha256}")


def store(engine: Engine, data: bytes) -> str:
    """Write bytes that no row needs yet, and give their SHA-256.

    Storing the same bytes again writes nothing twice, and mends a piece that was damaged since;
    two writers may do it at once.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    with engine.begin() as connection:
        now = database_now(connection)
        # Bytes being written again are young again: the sweep leaves them alone.
        insert_or_replace(
            connection, Blob, {"sha256": sha256, "size_bytes": len(data), "touched_at": now}
        )
        there = set(
            connection.scalars(select(BlobChunk.position).where(BlobChunk.sha256 == sha256))
        )
    for position in range(_chunks(len(data))):
        piece = data[position * CHUNK_BYTES : (position + 1) * CHUNK_BYTES]
        if position in there and _chunk(engine, sha256, position) == piece:
            continue
        with engine.begin() as connection:
            insert_or_replace(
                connection, BlobChunk, {"sha256": sha256, "position": position, "data": piece}
            )
    return sha256


def publish(connection: Connection, sha256: str) -> None:
    """Mark stored bytes as needed, in the transaction that writes the row needing them.

    Raises:
        MissingBlob: They are not all there (a sweep took them: store them again).
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
    """All bytes of a blob, checked against its name.

    Raises:
        MissingBlob: It is not there, or not whole.
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
    """The bytes of a blob piece by piece, each read in a transaction of its own.

    Raises:
        MissingBlob: It is not there, or not whole.
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
