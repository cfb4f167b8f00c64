"""When a training has gone wrong: a loss that is no number, or that explodes."""

import math
from collections.abc import Mapping
from typing import Any

from worker.ml.config import TrainConfig

#: A mean loss of more than this times the least mean so far is an explosion.
EXPLOSION = 3.0
#: The least mean counts as this at least: near 0 a single hard batch is three times as much.
LEAST_NATS = 0.1
#: The mean's memory: so many targets, and so many steps at least.
MEMORY_TARGETS = 2048
MEMORY_STEPS = 10


class Diverged(ArithmeticError):
    """The loss is {loss} at step {step}: the rate is too high for this text."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(
            f"the loss is {loss:.4g} at step {step}: the rate is too high for this text"
        )
        self.step = step
        self.loss = loss


class DivergenceMonitor:
    """Follows a moving mean of the loss, and its minimum.

    It counts step by step in Python's own floats, so that it decides the same however many
    steps a call took; what it knows is part of the loop's state.
    """

    def __init__(self, config: TrainConfig, known: Mapping[str, Any] | None = None) -> None:
        """Begin, or go on from what `known` says."""
        targets = config.batch_size * (1 if config.predict == "last" else config.window)
        self._memory_steps = max(MEMORY_STEPS, -(-MEMORY_TARGETS // targets))
        self._judges = config.rollbacks > 0
        # To guess is as bad as it gets before anything is learnt.
        guess = math.log(max(2, config.network.vocabulary_size))
        fresh = {"sum": 0.0, "weight": 0.0, "steps": 0, "minimum": guess}
        self._state: dict[str, Any] = fresh | dict(known or {})

    def add(self, step: int, loss: float) -> None:
        """Count the loss of a step.

        Raises:
            Diverged: It is not a number, infinite, or far above what it has been.
        """
        if not math.isfinite(loss):
            raise Diverged(step, loss)
        state, kept = self._state, 1 - 1 / self._memory_steps
        state["sum"] = kept * state["sum"] + (1 - kept) * loss
        state["weight"] = kept * state["weight"] + (1 - kept)
        state["steps"] += 1
        mean = state["sum"] / state["weight"]
        if self._judges and mean > EXPLOSION * max(state["minimum"], LEAST_NATS):
            raise Diverged(step, loss)
        if state["steps"] >= self._memory_steps:
            state["minimum"] = min(state["minimum"], mean)

    def as_dict(self) -> dict[str, Any]:
        """What it knows, as JSON values."""
        return dict(self._state)
