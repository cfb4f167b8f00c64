"""Harnesses that a module's tests share, because a worker takes ten seconds to start."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.redis import RedisServer
from tests.worker.harness import WorkerHarness, make_harness

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def sqlite_harness(
    migrated_sqlite: Path, redis_of_session: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerHarness]:
    """A fresh SQLite database and an empty Redis."""
    directory = tmp_path_factory.mktemp("worker")
    shutil.copyfile(migrated_sqlite, directory / "quire.db")
    redis_of_session.flush()
    harness = make_harness(f"sqlite:///{directory / 'quire.db'}", redis_of_session.url, directory)
    yield harness
    harness.engine.dispose()


@pytest.fixture(scope="module", params=DATABASES)
def harness(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerHarness]:
    """A fresh database of each kind and an empty Redis."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_harness")
        return
    redis: RedisServer = request.getfixturevalue("redis_of_session")
    with request.getfixturevalue("migrated_postgres").fresh() as url:
        redis.flush()
        harness = make_harness(url, redis.url, tmp_path_factory.mktemp("worker"))
        yield harness
        harness.engine.dispose()
