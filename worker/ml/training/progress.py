"""How a training tells where it is: its events, its speed and the time left."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig
from worker.ml.training.optimizer import learning_rate

#: A stop is possible between two calls into the graph, so this bounds how long it waits.
CALL_SECONDS = 0.2
REPORT_SECONDS = 0.5
#: Characters gathered for one call; bounds its memory where steps are very fast.
CALL_CHARACTERS = 4_000_000
#: Calls that make graphs, for one step and for any number of them, and say nothing of the speed.
WARM_UP_CALLS = 2
#: How much the newest speed counts in the estimate of the time left.
SPEED_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is; about every half second.

    Attributes:
        step: Steps done.
        epoch: Epochs done, with its fraction.
        loss: Mean since the last report, in nats per predicted token.
        learning_rate: Of the last step.
        tokens_per_second: Tokens of the text consumed per second since the last report.
        seconds_left: Estimate until the last step, validation not counted.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A step after which whoever trains wanted to be told."""

    step: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The held-out tail was read: within an epoch, or at the training's end.

    Attributes:
        epoch: Epochs done, with its fraction.
        step: Steps done.
        loss: Mean over the windows since the validation before, each measured before its own
            step, in nats.
        val_loss: Of the held-out tail from zero states, in nats per predicted token.
        val_accuracy: Share of the tail's tokens that were guessed right.
        best: Whether no validation loss before was less.
    """

    epoch: float
    step: int
    loss: float
    val_loss: float
    val_accuracy: float
    best: bool


@dataclass(frozen=True, slots=True)
class EpochEnd(Judged):
    """An epoch is over, and judged; `epoch` is a whole number."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The loss had exploded: the best weights are back, and the rate is half of what it was.

    The count of steps goes on, so that the data are other ones and the schedule stays. A
    validation that was due at this step is not held: these weights have had theirs.

    Attributes:
        step: Steps done.
        loss: What exploded; not a number, perhaps.
        back_to: The step of the weights that were taken back.
        learning_rate: From now on, at this step of the schedule.
        rollbacks: How many of them there were by now.
    """

    step: int
    loss: float
    back_to: int
    learning_rate: float
    rollbacks: int


class Report:
    """Speed and loss since the last report; nothing here decides a bit of the training."""

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._step_seconds: float | None = None
        self._calls = 0
        self.restart()

    def restart(self) -> None:
        """Forget loss and speed so far, but not how long a step takes."""
        self._loss_sum = 0.0
        self._windows = 0
        self._timed_windows = self._timed_steps = 0
        self._seconds = 0.0
        self._reported_at = time.perf_counter()

    def add(
        self,
        losses: npt.NDArray[np.float32],
        windows: npt.NDArray[np.int64],
        seconds: float,
    ) -> None:
        """Count one call.

        Args:
            losses: Of each step, [steps].
            windows: In each step, [steps].
            seconds: That the call took.
        """
        self._loss_sum += float(losses @ windows)
        self._windows += int(windows.sum())
        self._calls += 1
        newest = seconds / len(losses)
        if self._calls > WARM_UP_CALLS:
            self._timed_windows += int(windows.sum())
            self._timed_steps += len(losses)
            self._seconds += seconds
        if self._step_seconds is None or self._calls <= WARM_UP_CALLS + 1:
            self._step_seconds = newest
        else:
            self._step_seconds += SPEED_SHARE * (newest - self._step_seconds)

    @property
    def steps_per_call(self) -> int:
        """Steps for the next call, so that it takes about `CALL_SECONDS`."""
        if self._step_seconds is None or self._calls < WARM_UP_CALLS:
            return self._calls + 1
        bound = CALL_CHARACTERS // (self._config.batch_size * self._config.window)
        return max(1, min(int(CALL_SECONDS / self._step_seconds), bound))

    @property
    def timed_seconds(self) -> float:
        """Seconds since the last report that say something of the speed."""
        return self._seconds

    @property
    def step_seconds(self) -> float:
        """What a step takes, as measured since the last report."""
        return self._seconds / self._timed_steps if self._timed_steps else self._step_seconds or 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for the next report."""
        waited = time.perf_counter() - self._reported_at
        return self._timed_windows > 0 and waited >= REPORT_SECONDS

    def progress(self, step: int, steps_total: int, rate_share: float) -> Progress:
        """Where the training is after `step` steps, and a new start of the means."""
        seconds, windows = self._seconds, self._timed_windows
        if not seconds:
            # Asked for before a call was timed that made no graph.
            seconds, windows = self.step_seconds, self._config.batch_size
        event = Progress(
            step=step,
            epoch=step / self._steps_per_epoch,
            loss=self._loss_sum / self._windows,
            learning_rate=rate_share * learning_rate(self._config, step - 1, steps_total),
            tokens_per_second=windows * self._config.window / seconds,
            seconds_left=(steps_total - step) * (self._step_seconds or 0.0),
        )
        self.restart()
        return event
