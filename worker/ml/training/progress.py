"""Progress of a training: its events, its speed and the remaining time."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.ml.config import TrainConfig
from worker.ml.training.optimizer import learning_rate

#: Target duration of a call into the graph. A training can stop only between two calls, so this
#: bounds how long a stop waits.
CALL_SECONDS = 0.2
REPORT_SECONDS = 0.5
#: The most characters gathered for one call; bounds its memory where steps are very fast.
CALL_CHARACTERS = 4_000_000
#: The first calls build graphs, for one step and for any number of them, and are not timed.
WARM_UP_CALLS = 2
#: Weight of the newest speed in the estimate of the remaining time.
SPEED_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a training, about every half second.

    Attributes:
        step: Steps done.
        epoch: Epochs done, as a fraction.
        loss: Mean since the last report, in nats per predicted token.
        learning_rate: The rate of the last step.
        tokens_per_second: Tokens trained on per second since the last report.
        seconds_left: Estimated time until the last step, without validation.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class IntervalReached:
    """The trainer has reached a multiple of the interval that `Trainer.run` was given."""

    step: int


@dataclass(frozen=True, slots=True)
class Validated:
    """A validation on the held-out pieces, within an epoch or at the end of the training.

    Attributes:
        epoch: Epochs done, as a fraction.
        step: Steps done.
        loss: Mean over the windows since the previous validation, in nats; each is measured
            before its own step.
        val_loss: Loss on the held-out pieces from zero states, in nats per predicted token.
        val_accuracy: Share of their tokens that were predicted correctly.
        best: Whether no earlier validation loss was lower.
        piece_losses: The loss of each piece; None for one that is too short for a window.
    """

    epoch: float
    step: int
    loss: float
    val_loss: float
    val_accuracy: float
    best: bool
    piece_losses: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class EpochEnd(Validated):
    """The validation at the end of an epoch; `epoch` is a whole number."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The loss exploded: the best weights are restored, and the rate is halved.

    The step count continues, so the next batches differ and the schedule stays. A validation that
    was due at this step is skipped: these weights have had theirs. Only that of the last step comes
    all the same, as the next event.

    Attributes:
        step: Steps done.
        loss: The exploded loss; may be NaN.
        back_to: The step of the restored weights.
        learning_rate: The new rate at this step of the schedule.
        rollbacks: Number of rollbacks so far.
    """

    step: int
    loss: float
    back_to: int
    learning_rate: float
    rollbacks: int


class ProgressMeter:
    """Measures speed and loss since the last report; never influences the training itself."""

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._step_seconds: float | None = None
        self._calls = 0
        self.restart()

    def restart(self) -> None:
        """Reset loss and speed, but keep the duration of a step."""
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
            losses: Loss of each step, [steps].
            windows: Windows in each step, [steps].
            seconds: Duration of the call.
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
        """Timed seconds since the last report."""
        return self._seconds

    @property
    def step_seconds(self) -> float:
        """Duration of a step, measured since the last report."""
        return self._seconds / self._timed_steps if self._timed_steps else self._step_seconds or 0.0

    @property
    def due(self) -> bool:
        """Whether the next report is due."""
        waited = time.perf_counter() - self._reported_at
        return self._timed_windows > 0 and waited >= REPORT_SECONDS

    def progress(self, step: int, steps_total: int, rate_share: float) -> TrainingProgress:
        """Report the progress after `step` steps, and restart the means."""
        seconds, windows = self._seconds, self._timed_windows
        if not seconds:
            # Requested before any call was timed.
            seconds, windows = self.step_seconds, self._config.batch_size
        event = TrainingProgress(
            step=step,
            epoch=step / self._steps_per_epoch,
            loss=self._loss_sum / self._windows,
            learning_rate=rate_share * learning_rate(self._config, step - 1, steps_total),
            tokens_per_second=windows * self._config.window / seconds,
            seconds_left=(steps_total - step) * (self._step_seconds or 0.0),
        )
        self.restart()
        return event
