"""What a training knows of itself beside its arrays, and when more of it is no use."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from worker.ml.config import TrainConfig

#: Under a falling rate a loss that stands still will fall again at the schedule's end, and only
#: one that is worse than the best by this much will not: the network has learnt the text by heart.
BEYOND_RECOVERY = 1.1


@dataclass(slots=True)
class Loop:
    """All that a resume needs beside the arrays; it stands in a checkpoint's `meta` as `loop`.

    Attributes:
        step: Steps done.
        steps_total: Steps at the end; None while a budget is measured.
        loss_sum: Of all windows since the last validation, in nats per token.
        windows: How many these are.
        loss: Their mean at the last validation.
        val_loss: At the last validation; after a rollback that of the weights which are back.
        best_val_loss: The least so far.
        best_step: Its step; the newest of equals.
        stale: Validations that speak for stopping, without one between that does not.
        stopped: Whether `patience` has ended it.
        rollbacks: How often the loss has exploded; each time has halved the rate.
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

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Self:
        """What a checkpoint says of it; the beginning's values where it says nothing."""
        return cls(**{each.name: known[each.name] for each in fields(cls) if each.name in known})

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @property
    def rate_share(self) -> float:
        """What of the schedule's rate is left: a power of two, so that products are exact."""
        return float(0.5**self.rollbacks)

    def stepped(self, step: int, loss: float, windows: int) -> None:
        """Count a step, numbered from 0."""
        self.step = step + 1
        self.loss_sum += loss * windows
        self.windows += windows

    def judged(self, config: TrainConfig, val_loss: float) -> bool:
        """Count a validation.

        Returns:
            Whether it is the best so far, the newest of equals.
        """
        self.loss = self.loss_sum / self.windows
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

    def went_back(self, val_loss: float | None) -> None:
        """Count a rollback to weights with that validation loss."""
        self.loss_sum, self.windows = 0.0, 0
        self.val_loss = val_loss
        self.rollbacks += 1

    def _is_beyond_recovery(self, val_loss: float) -> bool:
        return self.best_val_loss is not None and val_loss > BEYOND_RECOVERY * self.best_val_loss
