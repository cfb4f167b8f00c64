"""corrupt: a checkpoint's bytes are flipped or truncated in the database."""

import os
import signal
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from shared import blobs
from shared.tables import BlobChunk
from tests.faults.conftest import ExpectedDigest
from tests.faults.parts import digest, train
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow


def damage(harness: WorkerHarness, sha256: str, change: Callable[[bytes], bytes]) -> None:
    """Change the first piece of a blob."""
    first_chunk = (BlobChunk.sha256 == sha256, BlobChunk.position == 0)
    with harness.engine.begin() as connection:
        data = connection.scalars(select(BlobChunk.data).where(*first_chunk)).one()
        connection.execute(update(BlobChunk).where(*first_chunk).values(data=change(data)))
    with pytest.raises(blobs.CorruptBlob):
        blobs.load(harness.engine, sha256)


def flipped(data: bytes) -> bytes:
    """Flip one bit of the last number."""
    return data[:-1] + bytes([data[-1] ^ 1])


def truncated(data: bytes) -> bytes:
    """Cut off the end."""
    return data[:-100]


def test_corrupt(
    failpoint_harness: WorkerHarness,
    failpoint_worker: Worker,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = failpoint_harness, expected_digest(failpoint_harness)
    job_id = train(harness)
    until(lambda: len(harness.checkpoints(job_id)) >= 4, "four checkpoints")
    # The next process takes some seconds to start, and nothing reads them until then.
    os.kill(harness.child_pid("train"), signal.SIGKILL)
    *_, good, older, newest = harness.checkpoints(job_id)
    damage(harness, newest.sha256, flipped)
    damage(harness, older.sha256, truncated)
    harness.wait_until_succeeded(job_id, seconds=90)
    assert harness.count(job_id, "checkpoint_unusable") == 2
    assert harness.event(job_id, "checkpoint_unusable")["step"] == newest.step
    assert harness.event(job_id, "resumed")["step"] == good.step
    assert digest(harness, job_id) == expected
    # The resumed training stores the same bytes again, so they are whole now.
    for checkpoint in harness.checkpoints(job_id):
        blobs.load(harness.engine, checkpoint.sha256)
