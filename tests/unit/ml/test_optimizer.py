"""Our optimizer updates against Keras' own, over several steps."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.unit.ml.conftest import small_config
from worker.ml.config import TrainConfig
from worker.ml.training.optimizer import initial_slots, learning_rate, step_numbers, update

STEPS = 12


def run_ours(
    config: TrainConfig, weights: dict[str, Any], gradients: list[dict[str, Any]]
) -> dict[str, Any]:
    state: dict[str, Any] = {**weights, **initial_slots(config, weights)}
    if config.average_decay is not None:
        state |= {f"average.{name}": weight for name, weight in weights.items()}
    numbers = step_numbers(config, range(STEPS), STEPS)
    compiled = tf.function(update, jit_compile=True, autograph=False)
    for row, gradient_set in zip(numbers, gradients, strict=True):
        state = compiled(config, state, gradient_set, tf.constant(row))
    return {name: np.asarray(value) for name, value in state.items()}


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_weights_after_some_steps_are_those_of_keras(
    optimizer: str, clip_norm: float | None
) -> None:
    config = small_config("classic", 20, optimizer=optimizer, clip_norm=clip_norm)
    random = np.random.default_rng(0)
    shapes = {"lstm.0.kernel": (9, 8), "head.bias": (7,)}
    weights = {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    gradients = [
        {
            n: (random.normal(size=s) * 10.0 ** (-k % 5)).astype(np.float32)
            for n, s in shapes.items()
        }
        for k in range(STEPS)
    ]
    mine = run_ours(config, weights, gradients)
    if optimizer == "rmsprop":
        peer = keras.optimizers.RMSprop(0.01, global_clipnorm=clip_norm)
    else:
        peer = keras.optimizers.Adam(0.01, beta_2=0.99, global_clipnorm=clip_norm)
    variables = [keras.Variable(weight) for weight in weights.values()]
    peer.build(variables)
    for gradient_set in gradients:
        peer.apply([tf.constant(gradient) for gradient in gradient_set.values()])
    for name, variable in zip(weights, variables, strict=True):
        np.testing.assert_allclose(mine[name], variable.numpy(), atol=2e-6, err_msg=name)


def test_the_average_follows_the_weights() -> None:
    config = small_config("default", 20, average_decay=0.5)
    weights = {"head.bias": np.zeros(3, np.float32)}
    gradients = [{"head.bias": np.full(3, -1.0, np.float32)}] * STEPS
    after = run_ours(config, weights, gradients)
    average, weight = after["average.head.bias"], after["head.bias"]
    assert np.all(average > 0)
    assert np.all(average < weight)
    # Its decay is low at first, so that it soon forgets the initial weights.
    assert step_numbers(config, range(1), 100)[0, 1] == pytest.approx(2 / 11)


def test_the_cosine_rate_rises_shortly_and_falls_to_its_end() -> None:
    config = small_config("default", 20, learning_rate=1.0)
    rates = [learning_rate(config, step, 2000) for step in range(2000)]
    assert rates[0] == pytest.approx(0.01)
    assert 0.99 < max(rates) <= 1
    assert int(np.argmax(rates)) == 99
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
    assert np.all(np.diff(rates[99:]) < 0)
    assert learning_rate(small_config("classic", 20), 5, 10) == 0.01
