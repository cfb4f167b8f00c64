"""Validation on the held-out tail: when it is due, and what it measures.

Intervals are counted in steps, never in seconds, so a training is the same on a slow machine.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from worker.ml.config import TrainConfig
from worker.ml.training.step import TrainStep
from worker.ml.training.variables import to_checkpoint
from worker.ml.vectorize import Starts, steps_per_epoch, validation_starts

#: Trained characters between two validations. With the bound of
#: `vectorize.VALIDATION_CHARACTERS`, validation takes about a fiftieth of the time.
VALIDATION_INTERVAL_CHARACTERS = 20_000_000
#: Validation batches timed to estimate the duration of a whole validation.
TIMED_BATCHES = 8


def validation_interval(config: TrainConfig, characters: int) -> int:
    """Steps between two validations within an epoch; the end of an epoch is validated as well.

    Args:
        config: Has `validate_every`, or None for equal parts of an epoch of at most
            `VALIDATION_INTERVAL_CHARACTERS` characters.
        characters: Characters to train on.
    """
    steps = steps_per_epoch(config, characters)
    if config.validate_every is not None:
        return min(config.validate_every, steps)
    parts = -(-steps * config.batch_size * config.window // VALIDATION_INTERVAL_CHARACTERS)
    return -(-steps // parts)


def steps_to_validation(step: int, interval: int, epoch_steps: int) -> int:
    """Steps from `step` to the next one that is validated."""
    done = step % epoch_steps
    return min(interval - done % interval, epoch_steps - done)


def is_validation_due(step: int, interval: int, epoch_steps: int) -> bool:
    """Whether a validation follows `step` steps, apart from the one at the training's end."""
    return step % epoch_steps % interval == 0


class Validator:
    """Measures loss and accuracy on the held-out tail of a text."""

    def __init__(
        self, config: TrainConfig, step: TrainStep, ids: Any, characters: int, held_out: int
    ) -> None:
        """Prepare the windows of the tail.

        Args:
            config: The training's config.
            step: The compiled step.
            ids: The whole text, on the device.
            characters: Length of its trained part.
            held_out: Length of the tail behind it.
        """
        self._config = config
        self._step = step
        self._ids = ids
        starts = validation_starts(config, held_out)
        self._starts = np.where(starts >= 0, starts + characters, starts)

    def evaluate(self, variables: Mapping[str, Any]) -> tuple[float, float]:
        """Loss in nats per token, and the share of correct predictions."""
        return self._evaluate(variables, self._starts)

    def estimate_seconds(self, variables: Mapping[str, Any]) -> float:
        """Compile the graph, and estimate how long a validation takes."""
        self._evaluate(variables, self._starts[:1])  # compiles
        timed = self._starts[:TIMED_BATCHES]
        started = time.perf_counter()
        self._evaluate(variables, timed)
        return (time.perf_counter() - started) * len(self._starts) / len(timed)

    def _evaluate(self, variables: Mapping[str, Any], starts: Starts) -> tuple[float, float]:
        weights, _ = to_checkpoint(variables, self._config)
        return self._step.evaluate(weights, self._ids, starts)
