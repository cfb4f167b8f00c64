"""The weights to restore when the loss explodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.ml.checkpoint import TrainingState
from worker.ml.config import TrainConfig
from worker.ml.training.step import to_device
from worker.ml.training.variables import from_checkpoint, initial_variables
from worker.ml.vocabulary import Vocabulary

#: Loads the state after a step of this training, or the best one that is still stored; None where
#: there is none.
StateLoader = Callable[[int], TrainingState | None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The variables of a training after an earlier step.

    Attributes:
        step: Steps done by then.
        val_loss: Validation loss of these weights; None where they had no validation.
        variables: By name, padded.
    """

    step: int
    val_loss: float | None
    variables: dict[str, Any]


class Rollback:
    """Finds the snapshot to restore.

    Args:
        config: The training's config.
        vocabulary: The training's vocabulary.
        start_step: The step of its first state.
        load_state: Loads stored states; without it, the best weights are kept in memory.
    """

    def __init__(
        self,
        config: TrainConfig,
        vocabulary: Vocabulary,
        start_step: int,
        load_state: StateLoader | None,
    ) -> None:
        self._config = config
        self._vocabulary = vocabulary
        self._start_step = start_step
        self._load_state = load_state
        self._kept: Snapshot | None = None

    def keep(self, best: Snapshot) -> None:
        """Keep the best weights in memory, unless they can be loaded."""
        if self._load_state is None:
            self._kept = best

    def find(self, best_step: int | None) -> Snapshot | None:
        """The best weights; if they are gone, the first ones; None if those are gone too.

        In a training that continues another, the best may belong to the earlier one, whose
        checkpoints can be deleted independently. The first state is always its own.
        """
        if self._kept is not None:
            return self._kept
        for step in (best_step, self._start_step):
            state = None if step is None or self._load_state is None else self._load_state(step)
            if state is not None:
                return self._snapshot(state)
        if self._start_step > 0:
            return None
        return Snapshot(0, None, to_device(initial_variables(self._config), self._config.network))

    def _snapshot(self, state: TrainingState) -> Snapshot:
        variables = from_checkpoint(state, self._config, self._vocabulary)
        return Snapshot(
            int(state.meta["step"]),
            state.meta["val_loss"],
            to_device(variables, self._config.network),
        )
