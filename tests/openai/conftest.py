"""An API in this process, on each database."""

from pathlib import Path
from typing import Any

import pytest

from shared.event_publisher import EventPublisher
from shared.settings import Settings
from tests.api.conftest import admin, ann, bob, harness, settings_for, without_redis
from tests.api.harness import ApiHarness, Person

__all__ = ["admin", "ann", "bob", "harness", "without_redis"]

#: Longer than any test needs for an answer, and short enough to wait for its end.
WAIT_SECONDS = 4


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    found = settings_for(database_url, redis_url, tmp_path)
    return found.model_copy(update={"openai_wait_seconds": WAIT_SECONDS})


@pytest.fixture
def model(harness: ApiHarness, ann: Person) -> Any:
    return harness.model(ann, name="orwell")


@pytest.fixture
def publisher(settings: Settings) -> EventPublisher:
    return EventPublisher(settings.broker)
