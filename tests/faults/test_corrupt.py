"""corrupt: a checkpoint's bytes are flipped, or cut, in the database."""

import os
import signal
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from shared import blobs
from shared.tables import BlobChunk
from tests.faults.parts import digest, train
from tests.worker.harness import Worker, World, until

pytestmark = pytest.mark.slow


def damage(world: World, sha256: str, change: Callable[[bytes], bytes]) -> None:
    """Change the first piece of a blob."""
    of_it = (BlobChunk.sha256 == sha256, BlobChunk.position == 0)
    with world.engine.begin() as connection:
        data = connection.scalars(select(BlobChunk.data).where(*of_it)).one()
        connection.execute(update(BlobChunk).where(*of_it).values(data=change(data)))
    with pytest.raises(blobs.CorruptBlob):
        blobs.load(world.engine, sha256)


def flipped(data: bytes) -> bytes:
    """One bit of the last number is another."""
    return data[:-1] + bytes([data[-1] ^ 1])


def cut(data: bytes) -> bytes:
    """The end is missing."""
    return data[:-100]


def test_corrupt(mortal: World, mortal_worker: Worker, undisturbed: Callable[[World], str]) -> None:
    world, wanted = mortal, undisturbed(mortal)
    job_id = train(world)
    until(lambda: len(world.checkpoints(job_id)) >= 4, "four checkpoints")
    # Before the next process is there, in some seconds, nobody reads them.
    os.kill(world.child("train"), signal.SIGKILL)
    *_, good, older, newest = world.checkpoints(job_id)
    damage(world, newest.sha256, flipped)
    damage(world, older.sha256, cut)
    world.succeeded(job_id, seconds=90)
    assert world.count(job_id, "checkpoint_unusable") == 2
    assert world.event(job_id, "checkpoint_unusable")["step"] == newest.step
    assert world.event(job_id, "resumed")["step"] == good.step
    assert digest(world, job_id) == wanted
    # Written again under their names, they are whole.
    for checkpoint in world.checkpoints(job_id):
        blobs.load(world.engine, checkpoint.sha256)
