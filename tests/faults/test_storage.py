"""storage: SQLite is locked by somebody else, and the disk is full during a checkpoint."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from shared import blobs
from tests.faults.conftest import Undisturbed
from tests.faults.parts import Api, digest, running_api, train, training
from tests.services.redis import RedisServer
from tests.worker.harness import Worker, World, make_world, some_text

pytestmark = pytest.mark.slow

LOCKED_SECONDS = 30.0
#: As by default.
LEASE = {"QUIRE_LEASE_SECONDS": "60", "QUIRE_HEARTBEAT_SECONDS": "10"}
#: A sixth of what a writer waits for another by default: it is refused while the lock is held.
BUSY_SECONDS = 5
#: Longer than an epoch takes, at whose end a checkpoint is due.
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
    """A SQLite, and leases that are as long as by default."""
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
    yield world
    world.engine.dispose()


@pytest.fixture(scope="module")
def stored_worker(stored: World) -> Iterator[Worker]:
    with stored.worker() as worker:
        yield worker


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
    stored: World, stored_worker: Worker, stored_api: Api, undisturbed: Undisturbed
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
        assert "busy with another write: nothing was changed" in answer.json()["detail"]
        # Who only reads waits for nobody.
        assert stored_api.client.get(f"/v1/jobs/{job_id}").json()["status"] == "running"
        assert_checkpoints_are_whole(world, job_id)
        assert locker.poll() is None
    assert world.succeeded(job_id).attempt == 1
    assert digest(world, job_id) == wanted
    # Its owner can see why it stood still, and for how long.
    held_up = world.event(job_id, "checkpoint_held_up")
    assert "busy with another write" in held_up["reason"]
    assert held_up["seconds"] > LOCKED_SECONDS / 2
    world.succeeded(stored_api.submit(world))


def test_storage_full(stored: World, stored_worker: Worker, stored_api: Api) -> None:
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
        assert len(world.checkpoints(job_id)) == there
        assert_checkpoints_are_whole(world, job_id)
        assert world.job(job_id).status == "running"
    assert world.succeeded(job_id).attempt == 1
    assert digest(world, job_id) == digest(world, calm)
    # One was tried meanwhile, and refused. Its log can't say so: it lies on the same disk.
    assert "the server's disk" in world.event(job_id, "checkpoint_held_up")["reason"]
    world.succeeded(stored_api.submit(world))
