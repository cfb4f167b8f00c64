"""Detects a diverging training: a loss that is NaN or infinite, or that explodes."""

import math
from collections.abc import Mapping
from typing import Any

from worker.ml.config import TrainConfig

#: A mean loss above this multiple of the least mean so far is an explosion.
EXPLOSION = 3.0
#: The least mean counts as at least this: near 0, a single hard batch is three times as much.
LEAST_NATS = 0.1
#: The mean covers this many targets, and at least this many steps.
MEMORY_TARGETS = 2048
MEMORY_STEPS = 10


class Diverged(ArithmeticError):
    """The loss is {loss} at step {step}: the learning rate is too high for this text."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(
            f"the loss is {loss:.4g} at step {step}: the learning rate is too high for this text"
        )
        self.step = step
        self.loss = loss


class DivergenceMonitor:
    """Tracks a moving mean of the loss, and its minimum.

    It counts step by step in Python floats, so its decisions don't depend on how many steps a call
    took. Its state is part of a checkpoint's `loop`.
    """

    def __init__(self, config: TrainConfig, saved: Mapping[str, Any] | None = None) -> None:
        """Start anew, or continue from a saved state."""
        targets = config.batch_size * (1 if config.predict == "last" else config.window)
        self._memory_steps = max(MEMORY_STEPS, -(-MEMORY_TARGETS // targets))
        self._detects_explosions = config.rollbacks > 0
        # A uniform guess is the worst loss before anything is learned.
        guess = math.log(max(2, config.network.vocabulary_size))
        initial = {"sum": 0.0, "weight": 0.0, "steps": 0, "minimum": guess}
        self._state: dict[str, Any] = initial | dict(saved or {})

    def add(self, step: int, loss: float) -> None:
        """Count the loss of a step.

        Raises:
            Diverged: The loss is NaN, infinite, or far above its earlier mean.
        """
        if not math.isfinite(loss):
            raise Diverged(step, loss)
        state, kept = self._state, 1 - 1 / self._memory_steps
        state["sum"] = kept * state["sum"] + (1 - kept) * loss
        state["weight"] = kept * state["weight"] + (1 - kept)
        state["steps"] += 1
        mean = state["sum"] / state["weight"]
        if self._detects_explosions and mean > EXPLOSION * max(state["minimum"], LEAST_NATS):
            raise Diverged(step, loss)
        if state["steps"] >= self._memory_steps:
            state["minimum"] = min(state["minimum"], mean)

    def as_dict(self) -> dict[str, Any]:
        """Its state, as JSON values."""
        return dict(self._state)
