"""Bytes in the database are whole, or an error says that they are not."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, delete, func, select, update

from shared import blobs
from shared.queue.maintenance.blob_sweep import sweep_blobs
from shared.queue.maintenance.retention import DEFAULT_KEEP
from shared.queue.types import CheckpointRecord, Claim, TextRecord
from shared.scheduling.errors import StorageFull
from shared.tables import CHUNK_BYTES, Blob, BlobChunk, Checkpoint, Corpus, User
from tests.queue.conftest import QueueHarness

DATA = bytes(range(256)) * (CHUNK_BYTES // 100)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(DATA)])
def test_loaded_bytes_are_the_stored_ones(engine: Engine, size: int) -> None:
    sha256 = blobs.store(engine, DATA[:size])
    assert sha256 == hashlib.sha256(DATA[:size]).hexdigest()
    assert blobs.load(engine, sha256) == DATA[:size]


def test_eight_writers_of_the_same_bytes_write_them_once(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: blobs.store(engine, DATA), range(8)))) == 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Blob)) == 1
        pieces = connection.scalar(select(func.count()).select_from(BlobChunk))
    assert pieces == -(-len(DATA) // CHUNK_BYTES)


def test_a_changed_byte_is_noticed(engine: Engine) -> None:
    sha256 = blobs.store(engine, DATA)
    with engine.begin() as connection:
        flipped = bytes([DATA[0] ^ 1]) + DATA[1:CHUNK_BYTES]
        connection.execute(update(BlobChunk).where(BlobChunk.position == 0).values(data=flipped))
    with pytest.raises(blobs.CorruptBlob, match=sha256):
        blobs.load(engine, sha256)
    # Storing the bytes again repairs them.
    assert blobs.load(engine, blobs.store(engine, DATA)) == DATA


def test_a_lost_piece_is_noticed(engine: Engine) -> None:
    sha256 = blobs.store(engine, DATA)
    with engine.begin() as connection:
        connection.execute(delete(BlobChunk).where(BlobChunk.position == 1))
    with pytest.raises(blobs.MissingBlob, match=sha256):
        blobs.load(engine, sha256)
    with engine.begin() as connection, pytest.raises(blobs.MissingBlob):
        blobs.publish(connection, sha256)
    assert blobs.load(engine, blobs.store(engine, DATA)) == DATA


def test_the_sweep_deletes_unneeded_blobs(harness: QueueHarness) -> None:
    orphan = blobs.store(harness.engine, b"nobody's")
    with harness.engine.connect() as connection:
        needed = connection.scalars(select(Corpus.sha256)).one()
    assert sweep_blobs(harness.engine) == 0, "recent bytes may be about to be published"
    assert sweep_blobs(harness.engine, kept_seconds=0) == 1
    assert blobs.load(harness.engine, needed)
    with pytest.raises(blobs.MissingBlob):
        blobs.load(harness.engine, orphan)


def test_what_a_text_was_written_with_outlives_every_sweep(harness: QueueHarness) -> None:
    harness.submit("ada")
    [training] = harness.claim()
    sha256 = blobs.store(harness.engine, b"a network")
    checkpoint = harness.queue.record_checkpoint(
        training, CheckpointRecord(1, 1.0, 1.5, 1.5, "0" * 64, sha256, 9)
    )
    harness.queue.succeed(training)
    harness.submit("ada", "generate")
    [generation] = harness.claim("generate")
    text = TextRecord(0, "It ", "was", 0.5, None, None, 7, "length", checkpoint)
    harness.queue.succeed(generation, [text])
    sweep_blobs(harness.engine, kept_seconds=0)
    assert blobs.load(harness.engine, sha256) == b"a network"


def checkpoint(harness: QueueHarness, claim: Claim, step: int, data: bytes) -> str:
    """Store and publish a checkpoint as a worker does; return the SHA-256 of its bytes."""
    while True:
        try:
            with blobs.stored(harness.engine, data) as sha256:
                record = CheckpointRecord(step, step, 1.0, None, "0" * 64, sha256, len(data))
                harness.queue.record_checkpoint(claim, record)
                return sha256
        except blobs.MissingBlob:
            continue


def stored_bytes(harness: QueueHarness) -> int:
    with harness.engine.connect() as connection:
        return int(connection.scalar(select(func.sum(func.length(BlobChunk.data)))) or 0)


def test_the_bytes_of_retired_checkpoints_go_at_once(harness: QueueHarness) -> None:
    harness.submit("ada")
    [training] = harness.claim()
    before = stored_bytes(harness)
    for step in range(12):
        checkpoint(harness, training, step, DATA + bytes([step]))
    with harness.engine.connect() as connection:
        kept = connection.scalar(select(func.count()).select_from(Checkpoint))
    assert kept == DEFAULT_KEEP + 1, "the first one stays until the first validation"
    assert stored_bytes(harness) - before == kept * (len(DATA) + 1)


def test_retired_bytes_stay_for_a_writer_that_has_begun(harness: QueueHarness) -> None:
    harness.submit("ada")
    [training] = harness.claim()
    for step in range(2 + DEFAULT_KEEP):
        sha256 = checkpoint(harness, training, step, DATA + bytes([step]))
        if step == 1:
            second = sha256
            # Another worker is about to publish the same bytes.
            blobs.store(harness.engine, DATA + bytes([step]))
    assert blobs.load(harness.engine, second) == DATA + bytes([1])
    with harness.engine.begin() as connection:
        blobs.publish(connection, second)


def test_a_checkpoint_beyond_the_cap_leaves_nothing(harness: QueueHarness) -> None:
    harness.submit("ada")
    [training] = harness.claim()
    before = stored_bytes(harness)
    with harness.engine.begin() as connection:
        connection.execute(update(User).values(max_stored_bytes=1000))
    with pytest.raises(StorageFull):
        checkpoint(harness, training, 1, DATA)
    assert stored_bytes(harness) == before


def test_writers_publish_whatever_is_dropped_meanwhile(harness: QueueHarness) -> None:
    harness.submit("ada")
    [training] = harness.claim()
    sha256 = hashlib.sha256(DATA).hexdigest()

    def keep_dropping() -> int:
        late = datetime.now(UTC) + timedelta(days=1)
        count = 0
        for _ in range(20):
            count += blobs.drop(harness.engine, [blobs.Leftover(sha256, late)])
            time.sleep(0.01)
        return count

    with ThreadPoolExecutor(1) as pool:
        dropped = pool.submit(keep_dropping)
        for step in range(3):
            checkpoint(harness, training, step, DATA)
            with harness.engine.begin() as connection:
                connection.execute(delete(Checkpoint))
        checkpoint(harness, training, 4, DATA)
        assert dropped.result() > 0
    assert blobs.load(harness.engine, sha256) == DATA
