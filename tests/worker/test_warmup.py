"""What a worker compiles before its first job."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shared.database import make_sessions
from shared.settings import load_settings
from shared.specs.presets import PRESETS
from shared.tables import Kind, Model
from tests.worker.batch_runner import SMALL, bare_harness, make_model
from tests.worker.harness import WorkerHarness
from worker import bootstrap, warmup
from worker.data.corpora import Corpora
from worker.data.model_cache import ModelCache
from worker.lane import Lane
from worker.ml.sampling.shape import StepShape


@pytest.fixture
def harness(sqlite_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    with bare_harness(sqlite_url, tmp_path) as harness:
        yield harness


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[StepShape]:
    """The shapes of the samplers that are warmed up, which are not compiled here."""
    found: list[StepShape] = []
    monkeypatch.setattr(warmup, "_warm", lambda sampler, _crossover: found.append(sampler.shape))
    return found


def test_only_the_newest_models_are_compiled(
    harness: WorkerHarness, compiled: list[StepShape]
) -> None:
    for units in (16, 24, 32):
        make_model(harness, network=replace(SMALL, units=units))
    models = ModelCache(harness.engine, "cpu", 10**9)
    warmup.warm_generate(harness.engine, models, "cpu", newest=2)
    assert [shape.units for shape in compiled] == [24, 32], "the newest last"


def test_only_the_newest_models_corpora_are_indexed(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_model(harness) for _ in range(3)]
    with make_sessions(harness.engine)() as session:
        expected = [session.get_one(Model, model_id).corpus_id for model_id in made[1:]]
    corpora, index, indexed = Corpora(harness.engine), Corpora.index, []

    def counted(self: Corpora, corpus_id: str, *, lowercase: bool) -> Any:
        indexed.append(corpus_id)
        return index(self, corpus_id, lowercase=lowercase)

    monkeypatch.setattr(Corpora, "index", counted)
    warmup.warm_novelty(harness.engine, corpora, newest=2)
    assert indexed == expected


def test_without_a_model_the_default_presets_network_is_compiled(
    harness: WorkerHarness, compiled: list[StepShape]
) -> None:
    warmup.warm_generate(harness.engine, ModelCache(harness.engine, "cpu", 10**9), "cpu", newest=2)
    [shape] = compiled
    assert shape.units == PRESETS["default"].units


class _Reached(Exception):
    """The start has come to its runner."""


@pytest.mark.parametrize(
    ("kind", "newest", "expected"),
    [
        ("train", 0, []),
        ("train", 3, [("warm_train", None)]),
        ("generate", 0, []),
        ("generate", 3, [("warm_generate", 3), ("warm_novelty", 3)]),
    ],
)
def test_the_setting_says_what_a_worker_compiles_before_it_is_ready(
    harness: WorkerHarness,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    newest: int,
    expected: list[tuple[str, int | None]],
) -> None:
    warmed: list[tuple[str, object]] = []

    def warm(what: str, *_: object, newest: int | None = None, **__: object) -> None:
        warmed.append((what, newest))

    def end(*_: object, **__: object) -> None:
        raise _Reached

    monkeypatch.setattr(bootstrap.runtime, "configure", lambda *_: None)
    for name in ("warm_train", "warm_generate", "warm_novelty"):
        monkeypatch.setattr(bootstrap, name, partial(warm, name))
    for name in ("Runner", "BatchRunner"):
        monkeypatch.setattr(bootstrap, name, end)
    for name, value in (harness.environment | {"QUIRE_WARM_MODELS": str(newest)}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(_Reached):
        bootstrap.start(Lane("here", kind, "cpu"), load_settings(), lambda: None)
    assert warmed == expected
