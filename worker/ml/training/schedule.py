"""The data and the hyperparameters of each step, as functions of the step's number."""

from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig
from worker.ml.training.optimizer import learning_rate, step_numbers
from worker.ml.vectorize import Parts, Starts, epoch_starts, steps_per_epoch

#: While a time budget is being measured, the schedule assumes this many steps: no end in sight.
UNKNOWN_STEPS = 10**9


class StepSchedule:
    """Which windows each step trains on, and at which rate.

    Args:
        config: The training's config.
        parts: What is trained on.
    """

    def __init__(self, config: TrainConfig, parts: Parts) -> None:
        self._config = config
        self._epoch_starts = lru_cache(maxsize=1)(partial(epoch_starts, config, parts))
        self.steps_per_epoch = steps_per_epoch(config, parts)

    def starts(self, step: int, most: int, steps_total: int | None) -> Starts:
        """Starts of the windows of up to `most` steps within an epoch, [steps, B]."""
        epoch, done = divmod(step, self.steps_per_epoch)
        if done == 0:
            # Free the last epoch's starts before the next are made: they grow with the text.
            self._epoch_starts.cache_clear()
        end = done + min(most, (steps_total or UNKNOWN_STEPS) - step)
        return self._epoch_starts(epoch)[done:end]

    def numbers(
        self, steps: range, steps_total: int | None, rate_share: float
    ) -> npt.NDArray[np.float32]:
        """Hyperparameters of steps, [len(steps), 2]; see `optimizer.step_numbers`."""
        numbers = step_numbers(self._config, steps, steps_total or UNKNOWN_STEPS)
        numbers[:, 0] *= rate_share
        return numbers

    def learning_rate(self, step: int, steps_total: int | None, rate_share: float) -> float:
        """The rate of a step, counted from 0."""
        return rate_share * learning_rate(self._config, step, steps_total or UNKNOWN_STEPS)
