"""An API in this process, on each database, with a real Redis."""

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from api.app import create_app
from api.services import EXTENSION
from shared.broker import Broker
from shared.database import flush, make_engine, writing
from shared.queue import Queue
from shared.settings import Settings, load_settings
from tests.api.harness import ApiHarness, Person

MAX_CORPUS_BYTES = 12 * 1024 * 1024


def settings_for(database_url: str, redis_url: str, directory: Path) -> Settings:
    return load_settings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=directory / "data",
        max_corpus_bytes=MAX_CORPUS_BYTES,
        max_queued_per_user=12,
        max_running_per_user=100,
        wait_slots=2,
        wait_max_seconds=5,
        train_threads=1,
        train_shards=1,
    )


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(database_url, redis_url, tmp_path)


@pytest.fixture
def harness(settings: Settings) -> Iterator[ApiHarness]:
    engine = make_engine(settings.database)
    broker = Broker(settings.broker)
    app = create_app(settings, engine, broker)
    yield ApiHarness(app, engine, Queue(engine, settings))
    app.extensions[EXTENSION].close()


@pytest.fixture
def ann(harness: ApiHarness) -> Person:
    return harness.person("ann")


@pytest.fixture
def bob(harness: ApiHarness) -> Person:
    return harness.person("bob")


@pytest.fixture
def admin(harness: ApiHarness) -> Person:
    return harness.person("root", "admin")


@pytest.fixture
def without_redis(settings: Settings, harness: ApiHarness, tmp_path: Path) -> ApiHarness:
    """Return the same server while Redis is down."""
    away = settings.model_copy(update={"redis_url": _secret(f"unix://{tmp_path}/no.sock")})
    app = create_app(away, harness.engine, Broker(settings.broker))
    return dataclasses.replace(harness, app=app, queue=Queue(harness.engine, away))


def _secret(url: str) -> Any:
    return Settings(redis_url=url).redis_url  # type: ignore[call-arg]  # by its alias


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes how submissions are committed, and when all that came before is flushed."""
    notes: list[str] = []

    def noted_writing(engine: Engine, *, synced: bool) -> AbstractContextManager[Connection]:
        notes.append("synced" if synced else "unsynced")
        return writing(engine, synced=synced)

    def noted_flush(engine: Engine) -> None:
        notes.append("flush")
        flush(engine)

    monkeypatch.setattr("api.operations.texts.group_transaction.writing", noted_writing)
    for module in ("operations.texts.submission_groups", "http.prefer_wait", "http.idempotency"):
        monkeypatch.setattr(f"api.{module}.flush", noted_flush)
    return notes
