"""TensorFlow as the worker sets it up, and small trainings that every test can afford."""

from pydoc_data import topics
from typing import Any

import pytest

from worker.ml.config import NetworkConfig, TrainConfig
from worker.ml.runtime import configure

configure(threads=2, device="cpu")


@pytest.fixture(scope="session")
def english() -> str:
    """Real English text that every CPython carries: 465,126 characters."""
    return "\n".join(topics.topics[key] for key in sorted(topics.topics))


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
