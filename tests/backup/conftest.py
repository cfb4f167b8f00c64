"""A server with something of every kind, on each database, and what a database holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select

from api.app import create_app
from api.services import EXTENSION
from quire.server.backup.source import LEFT_OUT
from shared import sessions
from shared.broker import Broker
from shared.database import make_engine, make_sessions, reading
from shared.queue import Queue
from shared.settings import Settings, load_settings
from shared.tables import ApiKey, Base, User
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person
from tests.services.waiting import until

STRANGE = '«ñandú» 紅樓夢 😀 \u2028 \\n "quoted"'


@dataclass
class Full:
    """A server in the middle of work.

    Attributes:
        running: A training that runs.
        queued: A training that waits for it.
    """

    world: ApiHarness
    ann: Person
    settings: Settings
    running: str
    queued: str

    @property
    def url(self) -> str:
        return self.settings.database


@pytest.fixture
def full(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Full]:
    settings = settings_for(database_url, redis_url, tmp_path)
    engine = make_engine(settings.database)
    app = create_app(settings, engine, Broker(settings.broker))
    world = ApiHarness(app, engine, Queue(engine, settings))
    ann = world.person("ann")
    corpus = ann.upload("".join(f"{number} «ñandú» 紅樓夢 😀\n" for number in range(60_000)))
    model = world.model(ann, corpus)
    written = ann.post("/v1/generate", {"model": model["id"], "length": 10}).json
    world.write(written, [STRANGE])
    first = ann.train(corpus, name="first")
    claim = world.claim(first["id"])
    world.checkpoint(claim, 100)
    world.progress(claim, 110)
    second = ann.train(corpus, name="second", after=first["id"])
    with make_sessions(engine).begin() as session:
        sessions.make_link(session, session.scalars(select(User)).one())
        sessions.begin(session, ann.key.split("_")[1], "key", None, 1000)
    # A key's use is written a little later, and not again for a minute: nothing changes by itself.
    until(lambda: _was_used(engine, ann.key.split("_")[1]), "the note of the key's use")
    yield Full(world, ann, settings, first["id"], second["id"])
    app.extensions[EXTENSION].close()
    engine.dispose()


def _was_used(engine: Engine, prefix: str) -> bool:
    with reading(engine) as connection:
        used_at = select(ApiKey.last_used_at).where(ApiKey.prefix == prefix)
        return connection.scalar(used_at) is not None


@pytest.fixture
def elsewhere(full: Full, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """An empty database of the other kind."""
    if full.world.engine.dialect.name == "postgresql":
        yield load_settings(data_dir=tmp_path / "new")
        return
    with request.getfixturevalue("postgres").database("elsewhere") as url:
        yield load_settings(database_url=url, data_dir=tmp_path / "new")


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows that a backup has, in a form that is the same on both databases."""
    engine = make_engine(url)
    try:
        with reading(engine) as connection:
            return _contents(connection)
    finally:
        engine.dispose()


def _contents(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in Base.metadata.sorted_tables:
        if table.name not in LEFT_OUT:
            rows = connection.execute(select(table)).all()
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found
