"""corrupt: a checkpoint's bytes are flipped, or cut, in the database."""

import os
import signal
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from shared import blobs
from shared.tables import BlobChunk
from tests.faults.parts import digest, train
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow


def damage(harness: WorkerHarness, sha256: str, change: Callable[[bytes], bytes]) -> None:
    """Change the first piece of a blob."""
    of_it = (BlobChunk.sha256 == sha256, BlobChunk.position == 0)
    with harness.engine.begin() as connection:
        data = connection.scalars(select(BlobChunk.data).where(*of_it)).one()
        connection.execute(update(BlobChunk).where(*of_it).values(data=change(data)))
    with pytest.raises(blobs.CorruptBlob):
        blobs.load(harness.engine, sha256)


def flipped(data: bytes) -> bytes:
    """One bit of the last number is another."""
    return data[:-1] + bytes([data[-1] ^ 1])


def cut(data: bytes) -> bytes:
    """The end is missing."""
    return data[:-100]


def test_corrupt(
    failpoint_harness: WorkerHarness,
    failpoint_worker: Worker,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = failpoint_harness, expected_digest(failpoint_harness)
    job_id = train(harness)
    until(lambda: len(harness.checkpoints(job_id)) >= 4, "four checkpoints")
    # Before the next process is there, in some seconds, nobody reads them.
    os.kill(harness.child_pid("train"), signal.SIGKILL)
    *_, good, older, newest = harness.checkpoints(job_id)
    damage(harness, newest.sha256, flipped)
    damage(harness, older.sha256, cut)
    harness.wait_until_succeeded(job_id, seconds=90)
    assert harness.count(job_id, "checkpoint_unusable") == 2
    assert harness.event(job_id, "checkpoint_unusable")["step"] == newest.step
    assert harness.event(job_id, "resumed")["step"] == good.step
    assert digest(harness, job_id) == expected
    # Written again under their names, they are whole.
    for checkpoint in harness.checkpoints(job_id):
        blobs.load(harness.engine, checkpoint.sha256)
