"""TensorFlow as the worker sets it up, and small trainings that every test can afford."""

from collections.abc import Callable
from pydoc_data import topics
from typing import Any

import pytest

from worker.ml.checkpoint import TrainingState
from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.runtime import configure
from worker.ml.training.trainer import Trainer
from worker.ml.vectorize import vectorize

#: Makes a training: (kind, state to go on from, changes).
Start = Callable[..., Trainer]
#: Of the changes, those that are the trainer's and not the network's.
TRAINERS_OWN = ("backend", "load_state")

configure(threads=2, device="cpu")


@pytest.fixture(scope="session")
def english() -> str:
    """Real English text that every CPython carries: 465,126 characters."""
    return "\n".join(topics.topics[key] for key in sorted(topics.topics))


@pytest.fixture(scope="module")
def text(english: str) -> str:
    """A page of it."""
    return english[:1500]


@pytest.fixture
def start(text: str) -> Start:
    """A training of a small preset on a page of English, from its beginning or a checkpoint."""
    vocabulary, ids = vectorize(text)

    def begin(kind: str, state: TrainingState | None = None, **changes: Any) -> Trainer:
        own = {name: changes.pop(name) for name in TRAINERS_OWN if name in changes}
        config = small_config(kind, len(vocabulary), **changes)
        return Trainer(config, ids, vocabulary, state=state, **own)

    return begin


def small_config(kind: str, vocabulary_size: int, **changes: Any) -> TrainConfig:
    """The preset's ways with small numbers; `units`, `layers` and `embedding` may change too."""
    classic = kind == "classic"
    window = changes.pop("window", 12)
    network = NetworkConfig(
        vocabulary_size=vocabulary_size,
        embedding=changes.pop("embedding", 0 if classic else 6),
        units=changes.pop("units", 10),
        layers=changes.pop("layers", 1),
        window=window if classic else None,
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
