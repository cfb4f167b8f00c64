"""The state of the training loop beside its arrays, including early stopping."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from worker.ml.config import TrainConfig

#: Under a falling rate, a stalled loss falls again at the end of the schedule. Only a loss this
#: much worse than the best does not: the network has memorized the text.
BEYOND_RECOVERY = 1.1


@dataclass(slots=True)
class LoopState:
    """Everything that a resume needs beside the arrays; the `loop` of a checkpoint's `meta`.

    Attributes:
        step: Steps done.
        steps_total: Steps at the end; None while a time budget is being measured.
        loss_sum: Sum over all windows since the last validation, in nats per token.
        windows: Number of these windows.
        loss: Their mean at the last validation.
        val_loss: At the last validation; after a rollback, that of the restored weights.
        best_val_loss: The least so far.
        best_step: Its step; of equals, the newest.
        stale: Consecutive validations that count towards `patience`.
        stopped: Whether `patience` has ended the training.
        rollbacks: How often the loss has exploded; each time halves the rate.
        validation_pending: Whether the last step was rolled back: the restored weights are the
            result, and are validated at its step.
    """

    step: int = 0
    steps_total: int | None = None
    loss_sum: float = 0.0
    windows: int = 0
    loss: float | None = None
    val_loss: float | None = None
    best_val_loss: float | None = None
    best_step: int | None = None
    stale: int = 0
    stopped: bool = False
    rollbacks: int = 0
    validation_pending: bool = False

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """The state in a checkpoint; fields that it lacks get their initial values."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: saved[name] for name in names if name in saved})

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return asdict(self)

    @property
    def rate_share(self) -> float:
        """Remaining share of the schedule's rate: a power of two, so that products are exact."""
        return float(0.5**self.rollbacks)

    def record_step(self, step: int, loss: float, windows: int) -> None:
        """Count a step, numbered from 0."""
        self.step = step + 1
        self.loss_sum += loss * windows
        self.windows += windows

    def record_validation(self, config: TrainConfig, val_loss: float) -> bool:
        """Count a validation.

        Returns:
            Whether it is the best so far; of equals, the newest.
        """
        if self.windows:
            self.loss = self.loss_sum / self.windows
        elif self.loss is None:
            # No step counts: each was rolled back.
            self.loss = val_loss
        self.validation_pending = False
        self.loss_sum, self.windows = 0.0, 0
        self.val_loss = val_loss
        best = self.best_val_loss is None or val_loss <= self.best_val_loss
        if best:
            self.best_val_loss, self.best_step, self.stale = val_loss, self.step, 0
        elif config.schedule == "constant" or self._is_beyond_recovery(val_loss):
            self.stale += 1
        else:
            self.stale = 0
        self.stopped = config.patience is not None and self.stale >= config.patience
        return best

    def record_rollback(self, val_loss: float | None) -> None:
        """Count a rollback to weights with this validation loss."""
        self.loss_sum, self.windows = 0.0, 0
        self.val_loss = val_loss
        self.rollbacks += 1
        self.validation_pending = self.step == self.steps_total

    def _is_beyond_recovery(self, val_loss: float) -> bool:
        return self.best_val_loss is not None and val_loss > BEYOND_RECOVERY * self.best_val_loss
