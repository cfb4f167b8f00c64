"""The weights that a training goes back to when its loss explodes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.ml.checkpoint import Checkpoint
from worker.ml.config import TrainConfig
from worker.ml.training.step import tensors
from worker.ml.training.variables import beginning, from_checkpoint
from worker.ml.vocabulary import Vocabulary

#: Gives the checkpoint of a step of this training, or the best one that is still there; None
#: where there is none.
Recall = Callable[[int], Checkpoint | None]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A training's variables after an earlier step.

    Attributes:
        step: Steps done by then.
        val_loss: Of these weights; None where they had no validation.
        variables: By name, padded.
    """

    step: int
    val_loss: float | None
    variables: dict[str, Any]


class Rollback:
    """Knows where to go back to.

    Args:
        config: The training's.
        vocabulary: The training's.
        start_step: The step of its first state.
        recall: Where checkpoints are had from; without it the best weights are kept in memory.
    """

    def __init__(
        self, config: TrainConfig, vocabulary: Vocabulary, start_step: int, recall: Recall | None
    ) -> None:
        self._config = config
        self._vocabulary = vocabulary
        self._start_step = start_step
        self._recall = recall
        self._kept: Earlier | None = None

    def keep(self, best: Earlier) -> None:
        """Remember the best weights, unless they are to be had as a checkpoint."""
        if self._recall is None:
            self._kept = best

    def find(self, best_step: int | None) -> Earlier | None:
        """The best weights; where they are gone, the first ones; None where those are gone too.

        The best of a training that goes on may be that of an earlier one, whose checkpoints come
        and go by themselves. The first is always its own.
        """
        if self._kept is not None:
            return self._kept
        for step in (best_step, self._start_step):
            state = None if step is None or self._recall is None else self._recall(step)
            if state is not None:
                return self._of(state)
        if self._start_step > 0:
            return None
        return Earlier(0, None, tensors(beginning(self._config), self._config.network))

    def _of(self, state: Checkpoint) -> Earlier:
        variables = from_checkpoint(state, self._config, self._vocabulary)
        return Earlier(
            int(state.meta["step"]),
            state.meta["val_loss"],
            tensors(variables, self._config.network),
        )
