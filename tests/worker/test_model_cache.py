"""Which networks stay in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import load_settings
from tests.worker.batch_runner import bare_world, begin_training, save
from tests.worker.harness import World
from worker import bootstrap
from worker.data.model_cache import ModelCache
from worker.lane import Lane


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    with bare_world(sqlite_url, tmp_path) as world:
        yield world


@pytest.fixture
def checkpoints(world: World) -> list[str]:
    """Three of one size."""
    training = begin_training(world)
    return [save(world, training, step=step, seed=step) for step in (1, 2, 3)]


def size_of(world: World, checkpoint_id: str) -> int:
    return ModelCache(world.engine, "cpu", 0).get(checkpoint_id).size_bytes


def test_the_least_recently_used_goes_when_there_is_no_room(
    world: World, checkpoints: list[str]
) -> None:
    first, second, third = checkpoints
    samplers = ModelCache(world.engine, "cpu", 2 * size_of(world, first))
    loaded = {each: samplers.get(each) for each in (first, second)}
    assert samplers.get(first) is loaded[first]
    loaded[third] = samplers.get(third)
    # The second had waited longest.
    assert samplers.get(first) is loaded[first]
    assert samplers.get(third) is loaded[third]
    assert samplers.get(second) is not loaded[second]
    assert samplers.get(first) is not loaded[first]


def test_one_too_large_is_kept_alone(world: World, checkpoints: list[str]) -> None:
    first, second, _ = checkpoints
    samplers = ModelCache(world.engine, "cpu", size_of(world, first) - 1)
    loaded = samplers.get(first)
    assert samplers.get(first) is loaded
    samplers.get(second)
    assert samplers.get(first) is not loaded


def test_how_much_may_stay_is_a_setting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Made(Exception):
        """A worker comes as far as its samplers here, without setting up TensorFlow."""

    def make(_engine: object, _processor: str, kept_bytes: int) -> None:
        raise Made(kept_bytes)

    monkeypatch.setattr(bootstrap, "ModelCache", make)
    monkeypatch.setattr(bootstrap.runtime, "configure", lambda *_: None)
    for name, value in (world.environment | {"QUIRE_LOADED_BYTES": "12345"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Made, match="12345"):
        bootstrap.start(Lane("here", "cpu", "generate"), load_settings())
