"""A sorted list: what is held out of it must choose a checkpoint that knows the whole of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.specs.presets import resolve_train
from worker.ml.config import TrainConfig
from worker.ml.model import pad
from worker.ml.training.progress import Validated
from worker.ml.training.step import on_device, to_device, train_step
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import validation_starts, vectorize

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("seed", [1, 3])
def test_the_best_of_a_sorted_list_is_best_by_names_it_never_saw(seed: int) -> None:
    names = sorted((DATA / "names.txt").read_text().split())
    text, fresh = "\n".join(names), (DATA / "names-fresh.txt").read_text()
    vocabulary, ids = vectorize(text)
    spec = resolve_train(
        "default", {"units": 96, "batch_size": 8, "epochs": 40}, seed=seed, threads=2, shards=2
    )
    config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
    trainer = Trainer(config, ids, vocabulary)
    known = on_device(vocabulary.encode("".join(c for c in fresh if c in vocabulary.characters)))
    [starts] = validation_starts(config, [(0, len(known))])
    step = train_step(replace(config, shards=1), "xla")
    best, losses = None, {}
    for event in trainer.run():
        if isinstance(event, Validated):
            weights = to_device(pad(trainer.state().weights, config.network), config.network)
            nats, _, counts = step.evaluate(weights, known, starts)
            losses[event.step] = float(nats.sum()) / int(counts.sum())
            best = event.step if event.best else best
    assert best is not None
    assert len(losses) > 10
    assert losses[best] < 1.03 * min(losses.values())
