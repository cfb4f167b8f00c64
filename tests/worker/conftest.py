"""Worlds that a whole module shares: a worker takes ten seconds until it is ready."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.redis import RedisServer
from tests.worker.harness import World, make_world

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="module")
def sqlite_world(
    migrated_sqlite: Path, redis_of_session: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A fresh SQLite and an empty Redis."""
    directory = tmp_path_factory.mktemp("world")
    shutil.copyfile(migrated_sqlite, directory / "quire.db")
    redis_of_session.flush()
    world = make_world(f"sqlite:///{directory / 'quire.db'}", redis_of_session.url, directory)
    yield world
    world.engine.dispose()


@pytest.fixture(scope="module", params=KINDS)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A fresh database of each kind, and an empty Redis."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_world")
        return
    redis: RedisServer = request.getfixturevalue("redis_of_session")
    with request.getfixturevalue("migrated_postgres").fresh() as url:
        redis.flush()
        world = make_world(url, redis.url, tmp_path_factory.mktemp("world"))
        yield world
        world.engine.dispose()
