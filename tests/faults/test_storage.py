"""storage: SQLite is locked by somebody else, and the disk is full during a checkpoint."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from shared import blobs
from tests.faults.parts import Api, digest, running_api, train, training
from tests.services.redis import RedisServer
from tests.worker.world import World, make_world, some_text

pytestmark = pytest.mark.slow

#: A fifth of the issue's 30 s, of the 60 s of a lease, and of what a writer waits for another.
LOCKED_SECONDS = 6.0
LEASE = {"QUIRE_LEASE_SECONDS": "12", "QUIRE_HEARTBEAT_SECONDS": "1"}
BUSY_SECONDS = 2
FULL_SECONDS = 4.0
LOCK = """
import sys, time
from shared.database import sqlite
connection = sqlite.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def stored(
    migrated_sqlite: Path, redis_of_session: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A worker and a lease that is long beside what is done to its SQLite."""
    directory = tmp_path_factory.mktemp("stored")
    path = directory / "quire.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    world = make_world(
        f"sqlite:///{path}?timeout={BUSY_SECONDS}",
        redis_of_session.url.replace("db=0", "db=2"),
        directory,
        **LEASE,
    )
    world.corpus(some_text())
    with world.worker():
        yield world
    world.engine.dispose()


@pytest.fixture(scope="module")
def stored_api(stored: World) -> Iterator[Api]:
    with running_api(stored) as api:
        yield api


@contextmanager
def full_disk(*pids: int) -> Iterator[None]:
    """Let processes write no further than a file's first byte, wherever that file lies.

    The kernel refuses by EFBIG what a full disk refuses by ENOSPC, and needs no disk for it.
    """
    free = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in free.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        for pid, limits in free.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def assert_checkpoints_are_whole(world: World, job_id: str) -> None:
    """Every checkpoint that has a row has its bytes."""
    for checkpoint in world.checkpoints(job_id):
        assert len(blobs.load(world.engine, checkpoint.sha256)) == checkpoint.size_bytes


def test_storage_locked(
    stored: World, stored_api: Api, undisturbed: Callable[[World], str]
) -> None:
    world, wanted = stored, undisturbed(stored)
    job_id = train(world)
    world.first_checkpoint(job_id)
    path = str(world.engine.url.database)
    argv = [sys.executable, "-c", LOCK, path, str(LOCKED_SECONDS)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=world.environment) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"
        answer = stored_api.client.post("/v1/train", json=training(world, 1))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "busy with another's write: nothing was changed" in answer.json()["detail"]
        assert_checkpoints_are_whole(world, job_id)
    assert world.succeeded(job_id).attempt == 1
    assert digest(world, job_id) == wanted
    world.succeeded(stored_api.submit(world))


def test_storage_full(stored: World, stored_api: Api) -> None:
    world = stored
    large = {"units": 256, "epochs": 6}
    calm = train(world, **large)
    world.succeeded(calm)
    job_id = train(world, **large)
    world.first_checkpoint(job_id)
    workers = [one.pid for one in psutil.Process(stored_api.pid).children()]
    with full_disk(world.child("train"), *workers):
        answer = stored_api.client.post("/v1/train", json=training(world, 1))
        assert answer.status_code == 503
        assert "disk" in answer.json()["detail"]
        there = len(world.checkpoints(job_id))
        time.sleep(FULL_SECONDS)
        # Nothing half: those from before, and no other.
        assert len(world.checkpoints(job_id)) - there <= 1
        assert_checkpoints_are_whole(world, job_id)
        assert world.job(job_id).status == "running"
    assert world.succeeded(job_id).attempt == 1
    assert digest(world, job_id) == digest(world, calm)
    world.succeeded(stored_api.submit(world))
