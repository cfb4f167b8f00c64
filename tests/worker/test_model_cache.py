"""Which models the cache keeps in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import load_settings
from tests.worker.batch_runner import bare_harness, begin_training, save
from tests.worker.harness import WorkerHarness
from worker import bootstrap
from worker.data.model_cache import ModelCache
from worker.lane import Lane


@pytest.fixture
def harness(sqlite_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(sqlite_url, tmp_path) as harness:
        yield harness


@pytest.fixture
def checkpoints(harness: WorkerHarness) -> list[str]:
    """Three checkpoints of equal size."""
    training = begin_training(harness)
    return [save(harness, training, step=step, seed=step) for step in (1, 2, 3)]


def size_of(harness: WorkerHarness, checkpoint_id: str) -> int:
    return ModelCache(harness.engine, "cpu", 0).get(checkpoint_id).size_bytes


def test_the_least_recently_used_model_is_evicted(
    harness: WorkerHarness, checkpoints: list[str]
) -> None:
    first, second, third = checkpoints
    cache = ModelCache(harness.engine, "cpu", 2 * size_of(harness, first))
    loaded = {key: cache.get(key) for key in (first, second)}
    assert cache.get(first) is loaded[first]
    loaded[third] = cache.get(third)
    # The second was the least recently used.
    assert cache.get(first) is loaded[first]
    assert cache.get(third) is loaded[third]
    assert cache.get(second) is not loaded[second]
    assert cache.get(first) is not loaded[first]


def test_a_model_larger_than_the_cache_is_kept_alone(
    harness: WorkerHarness, checkpoints: list[str]
) -> None:
    first, second, _ = checkpoints
    cache = ModelCache(harness.engine, "cpu", size_of(harness, first) - 1)
    loaded = cache.get(first)
    assert cache.get(first) is loaded
    cache.get(second)
    assert cache.get(first) is not loaded


def test_the_size_of_the_cache_is_a_setting(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CacheMade(Exception):
        """Raised instead of creating the cache, before TensorFlow is set up."""

    def make(_engine: object, _processor: str, max_bytes: int, _memory: int) -> None:
        raise CacheMade(max_bytes)

    monkeypatch.setattr(bootstrap, "ModelCache", make)
    monkeypatch.setattr(bootstrap.runtime, "configure", lambda *_: None)
    for name, value in (harness.environment | {"QUIRE_LOADED_BYTES": "12345"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CacheMade, match="12345"):
        bootstrap.start(Lane("here", "cpu", "generate"), load_settings(), lambda: None)
