"""A training's variables, and how a checkpoint holds them.

At run time every weight stands under its name, beside `slot.weight` of the optimizer and, where
one is kept, `average.weight`. A checkpoint's weights are those to generate with: the average,
beside which the trained ones then stand as `raw.weight`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.ml.checkpoint import Checkpoint
from worker.ml.config import TrainConfig
from worker.ml.model import Weights, initial_weights
from worker.ml.training.optimizer import initial_slots
from worker.ml.vocabulary import Vocabulary

Arrays = dict[str, npt.NDArray[Any]]


class Mismatch(ValueError):
    """The checkpoint belongs to another training, and says in what it differs."""


def beginning(config: TrainConfig, weights: Weights | None = None) -> Arrays:
    """Variables before the first step, from the initial weights or from `weights`."""
    if weights is None:
        weights = initial_weights(config.network, config.seed)
    variables: Arrays = {**weights, **initial_slots(config, weights)}
    if config.average_decay is not None:
        variables |= {f"average.{name}": weight for name, weight in weights.items()}
    return variables


def to_checkpoint(variables: Mapping[str, Any], config: TrainConfig) -> tuple[Arrays, Arrays]:
    """A checkpoint's `weights` and `training`."""
    names = list(config.network.weight_shapes())
    if config.average_decay is None:
        weights = {name: variables[name] for name in names}
        return weights, {name: each for name, each in variables.items() if name not in weights}
    weights = {name: variables[f"average.{name}"] for name in names}
    training = {
        f"raw.{name}" if name in weights else name: each
        for name, each in variables.items()
        if not name.startswith("average.")
    }
    return weights, training


def from_checkpoint(state: Checkpoint, config: TrainConfig, vocabulary: Vocabulary) -> Arrays:
    """The variables of a training that goes on.

    Raises:
        Mismatch: The state is one of another network, vocabulary or optimizer.
    """
    if state.network != config.network:
        raise Mismatch(f"a checkpoint of {state.network} cannot continue {config.network}")
    if Vocabulary(state.characters, state.words) != vocabulary:
        raise Mismatch("the checkpoint knows other characters or words than the text has")
    variables = {name.removeprefix("raw."): array for name, array in state.training.items()}
    prefix = "" if config.average_decay is None else "average."
    variables |= {prefix + name: array for name, array in state.weights.items()}
    wanted = {name: np.shape(array) for name, array in beginning(config).items()}
    if {name: array.shape for name, array in variables.items()} != wanted:
        raise Mismatch("the checkpoint was trained with another optimizer or average")
    return variables
