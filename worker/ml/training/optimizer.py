"""Optimizers: RMSprop and Adam as Keras defines them, and the learning-rate schedule.

Both are functions of tensors, so XLA compiles a whole update into one pass.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.config import TrainConfig

Tensor = Any

RMSPROP_RHO = 0.9
ADAM_BETA_1 = 0.9
EPSILON = 1e-7
#: Warm-up steps of the cosine schedule, and their largest share of a short training.
WARM_UP_STEPS = 100
WARM_UP_SHARE = 0.1
#: The cosine schedule ends at this share of its peak.
FINAL_SHARE = 0.02
SLOTS: Mapping[str, tuple[str, ...]] = {"rmsprop": ("velocity",), "adam": ("momentum", "velocity")}


def learning_rate(config: TrainConfig, step: int, steps_total: int) -> float:
    """The rate of a step, counted from 0."""
    if config.schedule == "constant":
        return config.learning_rate
    warm_up = max(1, min(WARM_UP_STEPS, int(steps_total * WARM_UP_SHARE)))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps_total)))
    share = FINAL_SHARE + (1 - FINAL_SHARE) * cosine
    return config.learning_rate * min(1.0, (step + 1) / warm_up) * share


def step_numbers(config: TrainConfig, steps: range, steps_total: int) -> npt.NDArray[np.float32]:
    """Per-step hyperparameters, as data for the compiled update: [len(steps), 2].

    Column 0 is the rate, for Adam with its bias correction (Kingma and Ba 2015, end of section
    2). Column 1 is the decay of the average, low at first so that it forgets the initial weights.
    """
    numbers = np.empty((len(steps), 2), np.float32)
    for row, step in enumerate(steps):
        rate = learning_rate(config, step, steps_total)
        if config.optimizer == "adam":
            rate *= math.sqrt(1 - config.beta_2 ** (step + 1)) / (1 - ADAM_BETA_1 ** (step + 1))
        memory = min(config.average_decay or 0.0, (2 + step) / (11 + step))
        numbers[row] = rate, memory
    return numbers


def initial_slots(
    config: TrainConfig, weights: Mapping[str, npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Zeros for every slot of every weight, named `slot.weight`."""
    return {
        f"{slot}.{name}": np.zeros_like(weight)
        for slot in SLOTS[config.optimizer]
        for name, weight in weights.items()
    }


def update(
    config: TrainConfig,
    state: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    numbers: Tensor,
) -> dict[str, Tensor]:
    """The state after one step.

    Args:
        config: Names the optimizer, its clipping and its decay rates.
        state: Weights by name, their slots `slot.weight` and, where kept, `average.weight`.
        gradients: One per weight, by name.
        numbers: A row of `step_numbers`.
    """
    rate, memory = numbers[0], numbers[1]
    if config.clip_norm is not None:
        clipped, _ = tf.clip_by_global_norm(list(gradients.values()), config.clip_norm)
        gradients = dict(zip(gradients, clipped, strict=True))
    after = dict(state)
    for name, gradient in gradients.items():
        velocity = state[f"velocity.{name}"]
        if config.optimizer == "rmsprop":
            velocity = RMSPROP_RHO * velocity + (1 - RMSPROP_RHO) * gradient * gradient
            weight = state[name] - rate * gradient / tf.sqrt(velocity + EPSILON)
        else:
            momentum = state[f"momentum.{name}"]
            momentum = momentum + (gradient - momentum) * (1 - ADAM_BETA_1)
            velocity = velocity + (gradient * gradient - velocity) * (1 - config.beta_2)
            weight = state[name] - rate * momentum / (tf.sqrt(velocity) + EPSILON)
            after[f"momentum.{name}"] = momentum
        after[f"velocity.{name}"] = velocity
        after[name] = weight
        if config.average_decay is not None:
            average = state[f"average.{name}"]
            after[f"average.{name}"] = weight + (average - weight) * memory
    return after
