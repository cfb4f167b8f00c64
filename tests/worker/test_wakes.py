"""Redis comes and goes; jobs wait for it and are found."""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.redis import configuration, find_program
from tests.services.servers import ServerMissing, short_directory
from tests.worker.harness import make_world

pytestmark = pytest.mark.slow


@contextmanager
def running_redis(directory: Path, password: str) -> Iterator[None]:
    """A server at a place that is known before it runs."""
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


def test_workers_wait_for_redis_and_outlive_it(sqlite_url: str, tmp_path: Path) -> None:
    try:
        find_program()
    except ServerMissing as error:
        pytest.skip(str(error))
    with short_directory("redis") as directory:
        password = secrets.token_hex(16)
        url = f"unix://:{password}@{directory / 'redis.sock'}?db=0"
        world = make_world(sqlite_url, url, tmp_path)
        with world.worker() as worker:
            job_id = world.train(wake=False, epochs=1)
            assert not world.broker.wake("train", job_id)
            assert world.job(job_id).status == "queued"
            with running_redis(directory, password):
                world.succeeded(job_id, seconds=60)
            # It is away again, and the workers stay.
            later = world.train(wake=False, epochs=1)
            assert worker.process.poll() is None
            pid = world.child("train")
            with running_redis(directory, password):
                world.succeeded(later, seconds=60)
            assert world.child("train") == pid
            assert worker.process.poll() is None
