"""Workers wait for Redis at the start, and survive its absence later."""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.redis import configuration, find_program
from tests.services.servers import ServerMissing, short_directory
from tests.worker.harness import make_harness

pytestmark = pytest.mark.slow


@contextmanager
def running_redis(directory: Path, password: str) -> Iterator[None]:
    """Run a Redis in a directory that is known in advance."""
    file = directory / "redis.conf"
    file.touch(mode=0o600)
    file.write_text(configuration(directory, directory / "redis.sock", password))
    process = subprocess.Popen(
        [find_program(), file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_workers_wait_for_redis_and_survive_its_end(sqlite_url: str, tmp_path: Path) -> None:
    try:
        find_program()
    except ServerMissing as error:
        pytest.skip(str(error))
    with short_directory("redis") as directory:
        password = secrets.token_hex(16)
        url = f"unix://:{password}@{directory / 'redis.sock'}?db=0"
        harness = make_harness(sqlite_url, url, tmp_path)
        with harness.worker() as worker:
            job_id = harness.train(wake=False, epochs=1)
            assert not harness.broker.wake("train", job_id)
            assert harness.job(job_id).status == "queued"
            with running_redis(directory, password):
                harness.wait_until_succeeded(job_id, seconds=60)
            # Redis is gone again, and the workers stay.
            later = harness.train(wake=False, epochs=1)
            assert worker.process.poll() is None
            pid = harness.child_pid("train")
            with running_redis(directory, password):
                harness.wait_until_succeeded(later, seconds=60)
            assert harness.child_pid("train") == pid
            assert worker.process.poll() is None
