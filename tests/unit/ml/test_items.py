"""Lists of items: windows within items, whole items held out, and the order of no matter."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.specs.presets import fit_to_items, resolve_train
from tests.unit.ml.conftest import small_config
from worker.ml.checkpoint import digest, pack, unpack
from worker.ml.config import ITEM_BEGIN, ITEM_END, TrainConfig
from worker.ml.holdout import TooShort
from worker.ml.items import ItemHoldout, item_spans, item_starts, windows_of
from worker.ml.model import pad
from worker.ml.training.progress import Validated
from worker.ml.training.step import on_device, to_device, train_step
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import epoch_starts, validation_starts, vectorize
from worker.ml.vocabulary import Ids, Vocabulary

DATA = Path(__file__).parent / "data"


def marked(items: list[str]) -> str:
    return "".join(f"{ITEM_BEGIN}{item}{ITEM_END}" for item in items)


def some_items(count: int = 200) -> list[str]:
    draw = random.Random(5)
    return ["".join(draw.choices("abcdef", k=draw.randint(1, 40))) for _ in range(count)]


def begin(items: list[str], state: Any = None, **changes: Any) -> Trainer:
    vocabulary, ids = vectorize(marked(items))
    numbers = {"items": True, "holdout": "spread", **changes}
    backend = numbers.pop("backend", "xla")
    config = small_config("default", len(vocabulary), **numbers)
    return Trainer(config, ids, vocabulary, state=state, backend=backend)


@pytest.fixture
def listed() -> tuple[Vocabulary, Ids]:
    return vectorize(marked(some_items()))


def test_windows_begin_items_and_cover_all_of_them(listed: tuple[Vocabulary, Ids]) -> None:
    vocabulary, ids = listed
    spans = item_spans(ids, vocabulary)
    assert len(spans) == 200
    end = vocabulary.characters.index(ITEM_END)
    for draws in (None, np.random.default_rng(1)):
        starts = item_starts(spans, 12, draws)
        assert len(starts) == windows_of(spans, 12).sum()
        covered = set()
        for start in starts:
            window = ids[start : start + 12]
            ends = np.flatnonzero(window == end)
            covered |= set(range(start, start + (ends[0] if len(ends) else 12)))
        # Every token but the last of each item is read, and the next one predicted.
        assert covered == {place for first, last in spans for place in range(first, last - 1)}
        assert set(spans[:, 0].tolist()) <= set(starts.tolist())


def test_whole_items_are_held_out_and_never_trained_on(listed: tuple[Vocabulary, Ids]) -> None:
    vocabulary, ids = listed
    config = small_config("default", len(vocabulary), items=True, holdout="spread")
    holdout = ItemHoldout.from_meta({}, config, ids, vocabulary)
    held = {int(first) for piece in holdout.pieces for first, _ in piece}
    trained = {int(first) for first, _ in holdout.parts}
    assert held | trained == set(item_spans(ids, vocabulary)[:, 0].tolist())
    assert not held & trained
    tokens = sum(int((piece[:, 1] - piece[:, 0]).sum()) for piece in holdout.pieces)
    assert 0.1 * len(ids) <= tokens < 0.1 * len(ids) + 42, "at most one item more than the share"
    spans = {int(first): int(last) for first, last in item_spans(ids, vocabulary)}
    for starts, allowed in (
        *((epoch_starts(config, holdout.parts, epoch), trained) for epoch in range(3)),
        *((each, held) for each in validation_starts(config, holdout.pieces)),
    ):
        firsts = np.array(sorted(spans))
        of = firsts[np.searchsorted(firsts, starts[starts >= 0], side="right") - 1]
        assert set(of.tolist()) <= allowed
    other = ItemHoldout.from_meta({}, replace(config, seed=8), ids, vocabulary)
    assert other.as_dict() != holdout.as_dict()
    meta = {"holdout": holdout.as_dict()}
    kept = ItemHoldout.from_meta(meta, replace(config, seed=8), ids, vocabulary)
    assert np.array_equal(kept.parts, holdout.parts)
    last = ItemHoldout.from_meta({}, replace(config, holdout="tail"), ids, vocabulary)
    assert last.pieces[-1][-1, 1] == len(ids)
    assert last.parts[:, 1].max() <= last.pieces[0][0, 0]


@pytest.mark.parametrize("items", [[], ["abc"]])
def test_one_item_is_too_short(items: list[str]) -> None:
    vocabulary, ids = vectorize(marked([*items, "ab"])[: len(marked(items))] or marked(["ab"]))
    config = small_config("default", len(vocabulary), items=True)
    with pytest.raises(TooShort):
        ItemHoldout.from_meta({}, config, ids, vocabulary)


@pytest.mark.parametrize("backend", ["xla", "keras"])
def test_what_stands_behind_an_item_changes_nothing(backend: Any) -> None:
    """A step on short items has the loss of the items alone, whatever follows them."""
    found = []
    for neighbour in ("aaaa", "fedcba"):
        vocabulary, ids = vectorize(marked(["abcdef", neighbour, "bcd", neighbour]))
        config = small_config(
            "default", len(vocabulary), items=True, batch_size=2, shards=1, window=20
        )
        trainer = Trainer(config, ids, vocabulary, backend=backend)
        spans = item_spans(ids, vocabulary)[[0, 2]]
        starts = item_starts(spans, 20).astype(np.int32)[None]
        weights = to_device(pad(trainer.state().weights, config.network), config.network)
        step = train_step(config, backend)
        end = vocabulary.characters.index(ITEM_END)
        nats, hits, counts = step.evaluate(weights, on_device(ids), starts, end)
        assert counts.tolist() == [7 + 4], "each character, and the end"
        found.append((float(nats[0]), float(hits[0])))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_both_backends_learn_the_same_items() -> None:
    states = []
    for backend in ("xla", "keras"):
        trainer = begin(some_items(40), backend=backend, epochs=1)
        losses = [event.val_loss for event in trainer.run() if isinstance(event, Validated)]
        states.append((losses, trainer.state()))
    assert states[0][0] == pytest.approx(states[1][0], rel=1e-3)
    for name, array in states[0][1].weights.items():
        np.testing.assert_allclose(array, states[1][1].weights[name], atol=2e-3)


def test_a_resume_on_items_is_exact() -> None:
    items = some_items()
    whole = begin(items)
    list(whole.run())
    half = begin(items)
    next(event for event in half.run() if isinstance(event, Validated))
    resumed = begin(items, unpack(pack(half.state())))
    assert np.array_equal(resumed.holdout.parts, half.holdout.parts)
    list(resumed.run())
    assert digest(resumed.state()) == digest(whole.state())


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_sorted_or_shuffled_names_choose_a_best_that_knows_new_names(order: str) -> None:
    names = (DATA / "names.txt").read_text().split()
    names.sort() if order == "sorted" else random.Random(3).shuffle(names)
    vocabulary, ids = vectorize(marked(names))
    spec = resolve_train("default", {"units": 96, "epochs": 30}, seed=1, threads=2, shards=2)
    spec = fit_to_items(spec, max(map(len, names)), ())
    config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
    assert config.window == max(map(len, names)) + 1
    trainer = Trainer(config, ids, vocabulary)
    fresh = (DATA / "names-fresh.txt").read_text().split()
    known = vocabulary.encode(
        marked([name for name in fresh if set(name) <= set(vocabulary.characters)])
    )
    starts = validation_starts(config, [item_spans(known, vocabulary)])[0]
    step = train_step(replace(config, shards=1), "xla")
    best, losses = 0, {}
    for event in trainer.run():
        if isinstance(event, Validated):
            weights = to_device(pad(trainer.state().weights, config.network), config.network)
            end = vocabulary.characters.index(ITEM_END)
            nats, _, counts = step.evaluate(weights, on_device(known), starts, end)
            losses[event.step] = float(nats.sum()) / int(counts.sum())
            best = event.step if event.best else best
    assert len(losses) > 5
    assert losses[best] < 1.03 * min(losses.values())
    assert losses[best] / np.log(2) < 3
