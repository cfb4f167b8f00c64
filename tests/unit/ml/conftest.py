"""TensorFlow configured as in the worker, and trainings small enough for every test."""

from collections.abc import Callable
from pydoc_data import topics
from typing import Any

import pytest

from worker.ml.checkpoint import TrainingState
from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.runtime import configure
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize

#: Starts a training: (kind, state to continue, changes).
Start = Callable[..., Trainer]
#: The changes that are arguments of the trainer, not of its config.
TRAINER_ARGUMENTS = ("backend", "load_state")

configure(threads=2, device="cpu")


@pytest.fixture(scope="session")
def english() -> str:
    """Real English text that comes with every CPython: 465,126 characters."""
    return "\n".join(topics.topics[key] for key in sorted(topics.topics))


@pytest.fixture(scope="module")
def text(english: str) -> str:
    """A page of English."""
    return english[:1500]


@pytest.fixture
def start(text: str) -> Start:
    """Starts trainings of a small preset on a page of English, anew or from a checkpoint."""
    vocabulary, ids = vectorize(text)

    def begin(kind: str, state: TrainingState | None = None, **changes: Any) -> Trainer:
        own = {name: changes.pop(name) for name in TRAINER_ARGUMENTS if name in changes}
        config = small_config(kind, len(vocabulary), **changes)
        return Trainer(config, ids, vocabulary, state=state, **own)

    return begin


def small_config(kind: str, vocabulary_size: int, **changes: Any) -> TrainConfig:
    """A preset with small numbers; `changes` may include `units`, `layers`, `embedding` and
    `tied_embedding`."""
    classic = kind == "classic"
    window = changes.pop("window", 12)
    network = NetworkConfig(
        vocabulary_size=vocabulary_size,
        embedding=changes.pop("embedding", 0 if classic else 6),
        units=changes.pop("units", 10),
        layers=changes.pop("layers", 1),
        window=window if classic else None,
        tied_embedding=changes.pop("tied_embedding", False),
    )
    numbers: dict[str, Any] = {
        "network": network,
        "predict": "last" if classic else "every",
        "window": window,
        "stride": 3,
        "batch_size": 8,
        "optimizer": "rmsprop" if classic else "adam",
        "learning_rate": 0.01,
        "schedule": "constant" if classic else "cosine",
        "beta_2": 0.99,
        "clip_norm": None if classic else 1.0,
        "average_decay": None if classic else 0.998,
        "dropout": 0.0,
        "epochs": 2,
        "held_out": 0.1,
        "seed": 7,
        "shards": 2,
        "threads": 2,
    }
    return TrainConfig(**(numbers | changes))
