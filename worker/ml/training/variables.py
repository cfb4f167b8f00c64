"""The variables of a training, and how a checkpoint stores them.

At run time, each weight has its own name, beside the optimizer's `slot.weight` and, where an
average is kept, `average.weight`. A checkpoint's weights are the ones to generate with: where an
average is kept, that average, and the trained weights then become `raw.weight`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.ml.checkpoint import TrainingState
from worker.ml.config import TrainConfig
from worker.ml.model import Weights, initial_weights
from worker.ml.training.optimizer import initial_slots
from worker.ml.vocabulary import Vocabulary

Arrays = dict[str, npt.NDArray[Any]]


class CheckpointMismatch(ValueError):
    """The checkpoint belongs to another training; the message says how they differ."""


def initial_variables(
    config: TrainConfig,
    weights: Weights | None = None,
    counts: npt.NDArray[np.int64] | None = None,
) -> Arrays:
    """Variables before the first step, from `weights`, or from the initial weights for `counts`."""
    if weights is None:
        weights = initial_weights(config.network, config.seed, counts)
    variables: Arrays = {**weights, **initial_slots(config, weights)}
    if config.average_decay is not None:
        variables |= {f"average.{name}": weight for name, weight in weights.items()}
    return variables


def to_checkpoint(variables: Mapping[str, Any], config: TrainConfig) -> tuple[Arrays, Arrays]:
    """Split variables into a checkpoint's `weights` and `training`."""
    names = list(config.network.weight_shapes())
    if config.average_decay is None:
        weights = {name: variables[name] for name in names}
        return weights, {name: array for name, array in variables.items() if name not in weights}
    weights = {name: variables[f"average.{name}"] for name in names}
    training = {
        f"raw.{name}" if name in weights else name: array
        for name, array in variables.items()
        if not name.startswith("average.")
    }
    return weights, training


def from_checkpoint(state: TrainingState, config: TrainConfig, vocabulary: Vocabulary) -> Arrays:
    """The variables with which a training continues.

    Raises:
        CheckpointMismatch: The state has another network, vocabulary or optimizer.
    """
    if state.network != config.network:
        raise CheckpointMismatch(
            f"a checkpoint of {state.network} cannot continue {config.network}"
        )
    if state.vocabulary != vocabulary:
        raise CheckpointMismatch("the checkpoint knows other characters or words than the text has")
    variables = {name.removeprefix("raw."): array for name, array in state.training.items()}
    prefix = "" if config.average_decay is None else "average."
    variables |= {prefix + name: array for name, array in state.weights.items()}
    expected = {name: np.shape(array) for name, array in initial_variables(config).items()}
    if {name: array.shape for name, array in variables.items()} != expected:
        raise CheckpointMismatch("the checkpoint was trained with another optimizer or average")
    return variables
