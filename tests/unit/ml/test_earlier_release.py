"""Checkpoints of the release before load, generate and resume."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.ml.checkpoint import TrainingState, unpack
from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.training.progress import Validated
from worker.ml.training.trainer import Trainer
from worker.ml.training.transfer import can_continue

DATA = Path(__file__).parent / "data"
ABOUT: dict[str, Any] = json.loads((DATA / "quire-0.2.0.json").read_text())

pytestmark = pytest.mark.parametrize("kind", sorted(ABOUT["networks"]))


def stored(kind: str) -> TrainingState:
    state = unpack((DATA / f"quire-0.2.0-{kind}.safetensors").read_bytes())
    assert "holdout" not in state.meta
    return state


def its_config(state: TrainingState) -> TrainConfig:
    """The config that the release trained with, which knew nothing of later fields."""
    numbers = dict(state.meta["config"])
    return TrainConfig(**numbers | {"network": NetworkConfig(**numbers["network"])})


def test_it_generates_what_it_generated(kind: str) -> None:
    state, then = stored(kind), ABOUT["networks"][kind]
    vocabulary = state.vocabulary
    request = SamplingRequest(vocabulary.encode(then["prompt"]), 40, 0.0, None, None, 1)
    [ids] = Sampler(state.weights, state.network).generate([request])
    assert vocabulary.decode(ids) == then["written"]


def test_it_resumes_on_the_tail_and_ends_as_it_ended(kind: str) -> None:
    state, then = stored(kind), ABOUT["networks"][kind]
    config, ids = its_config(state), state.vocabulary.encode(ABOUT["text"])
    trainer = Trainer(config, ids, state.vocabulary, state=state)
    assert trainer.step == then["step"]
    assert trainer.holdout.pieces == ((len(ids) - int(len(ids) * 0.1), len(ids)),)
    losses = {
        str(event.step): event.val_loss for event in trainer.run() if isinstance(event, Validated)
    }
    assert losses == pytest.approx(
        {step: loss for step, loss in then["val_losses"].items() if int(step) > then["step"]},
        rel=1e-3,  # another processor has other last bits
    )
    # What it writes from now on names its pieces.
    assert Holdout.from_meta(trainer.state().meta, config, len(ids)) == trainer.holdout


def test_at_a_constant_rate_another_training_continues_it(kind: str) -> None:
    state = stored(kind)
    assert can_continue(state, its_config(state)) == (kind == "classic")
