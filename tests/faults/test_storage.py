"""storage: another process locks SQLite, and the disk is full during a checkpoint."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared import blobs
from tests.faults.conftest import ExpectedDigest
from tests.faults.parts import Api, digest, running_api, train, training
from tests.services.redis import RedisServer
from tests.worker.harness import Worker, WorkerHarness, make_harness, some_text

pytestmark = pytest.mark.slow

LOCKED_SECONDS = 30.0
#: The default settings.
LEASE = {"QUIRE_LEASE_SECONDS": "60", "QUIRE_HEARTBEAT_SECONDS": "10"}
#: A sixth of a writer's default wait, so that it is refused while the lock is held.
BUSY_SECONDS = 5
#: Longer than an epoch, at whose end a checkpoint is due.
FULL_SECONDS = 4.0
LOCK = """
import sys, time
from shared.sqlite_connections import sqlite
connection = sqlite.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def storage_harness(
    migrated_sqlite: Path, redis_of_session: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerHarness]:
    """A SQLite database, and leases of the default length."""
    directory = tmp_path_factory.mktemp("storage")
    path = directory / "quire.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    harness = make_harness(
        f"sqlite:///{path}?timeout={BUSY_SECONDS}",
        redis_of_session.url.replace("db=0", "db=2"),
        directory,
        **LEASE,
    )
    harness.corpus(some_text())
    yield harness
    harness.engine.dispose()


@pytest.fixture(scope="module")
def storage_worker(storage_harness: WorkerHarness) -> Iterator[Worker]:
    with storage_harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def storage_api(storage_harness: WorkerHarness) -> Iterator[Api]:
    with running_api(storage_harness) as api:
        yield api


@contextmanager
def full_disk(*pids: int) -> Iterator[None]:
    """Keep processes from writing past the first byte of any file.

    The kernel then fails with EFBIG where a full disk fails with ENOSPC.
    """
    free = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in free.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        for pid, limits in free.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def assert_checkpoints_are_whole(harness: WorkerHarness, job_id: str) -> None:
    """Check that every checkpoint with a row has its bytes."""
    for checkpoint in harness.checkpoints(job_id):
        assert len(blobs.load(harness.engine, checkpoint.sha256)) == checkpoint.size_bytes


def test_storage_locked(
    storage_harness: WorkerHarness,
    storage_worker: Worker,
    storage_api: Api,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = storage_harness, expected_digest(storage_harness)
    job_id = train(harness)
    harness.first_checkpoint(job_id)
    path = str(harness.engine.url.database)
    argv = [sys.executable, "-c", LOCK, path, str(LOCKED_SECONDS)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=harness.environment) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"
        answer = storage_api.client.post("/v1/train", json=training(harness, 1))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "busy with another write. Nothing was changed" in answer.json()["detail"]
        # Reads need not wait.
        assert storage_api.client.get(f"/v1/jobs/{job_id}").json()["status"] == "running"
        assert_checkpoints_are_whole(harness, job_id)
        assert locker.poll() is None
    assert harness.wait_until_succeeded(job_id).attempt == 1
    assert digest(harness, job_id) == expected
    # The history tells the owner why it stood still, and for how long.
    held_up = harness.event(job_id, "checkpoint_held_up")
    assert "busy with another write" in held_up["reason"]
    assert held_up["seconds"] > LOCKED_SECONDS / 2
    harness.wait_until_succeeded(storage_api.submit(harness))


def test_storage_full(
    storage_harness: WorkerHarness, storage_worker: Worker, storage_api: Api
) -> None:
    harness = storage_harness
    large = {"units": 256, "epochs": 6}
    undisturbed = train(harness, **large)
    harness.wait_until_succeeded(undisturbed)
    job_id = train(harness, **large)
    harness.first_checkpoint(job_id)
    with full_disk(harness.child_pid("train"), storage_api.pid):
        answer = storage_api.client.post("/v1/train", json=training(harness, 1))
        assert answer.status_code == 503
        assert "disk" in answer.json()["detail"]
        before = len(harness.checkpoints(job_id))
        time.sleep(FULL_SECONDS)
        # No partial checkpoint appears.
        assert len(harness.checkpoints(job_id)) == before
        assert_checkpoints_are_whole(harness, job_id)
        assert harness.job(job_id).status == "running"
    assert harness.wait_until_succeeded(job_id).attempt == 1
    assert digest(harness, job_id) == digest(harness, undisturbed)
    # One was refused meanwhile. The log cannot show it, because it lies on the same disk.
    assert "the server's disk" in harness.event(job_id, "checkpoint_held_up")["reason"]
    harness.wait_until_succeeded(storage_api.submit(harness))
