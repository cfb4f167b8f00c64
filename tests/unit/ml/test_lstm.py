"""The hand-written LSTM against Keras' own, and the whole networks of both backends."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.unit.ml.conftest import small_config
from worker.ml.config import NetworkConfig
from worker.ml.lstm import unroll
from worker.ml.model import initial_weights, logits, pad
from worker.ml.training.dropout import step_masks
from worker.ml.training.keras_gradients import KerasGradients, build_model, uses_cudnn
from worker.ml.training.xla_gradients import XlaGradients

STEPS, BATCH, UNITS, INPUTS = 17, 5, 24, 11
ON_JAX = """
import sys
import numpy as np
from tests.unit.ml.conftest import small_config
from worker.ml.training.keras_gradients import KerasGradients
kept = np.load(sys.argv[1])
config = small_config("default", 30, layers=2, dropout=0.4)
weights = {name[8:]: array for name, array in kept.items() if name.startswith("weights.")}
given = kept["windows"], kept["shares"], kept["masks"]
gradients, loss = KerasGradients(config).gradients(weights, *given)
np.savez(sys.argv[2], loss=loss, **gradients)
"""


def constant(random: np.random.Generator, *shape: int) -> Any:
    return tf.constant(random.normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("compiled", [True, False])
def test_states_and_gradients_are_those_of_keras(compiled: bool) -> None:
    random = np.random.default_rng(0)
    inputs, upstream = constant(random, BATCH, STEPS, INPUTS), constant(random, BATCH, STEPS, UNITS)
    layer = keras.layers.LSTM(UNITS, return_sequences=True)
    layer.build(inputs.shape)
    weights = [constant(random, *variable.shape) * 0.3 for variable in layer.trainable_variables]

    def ours(inputs: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
        by_time = tf.transpose(inputs, (1, 0, 2))
        hidden = unroll(tf.tensordot(by_time, kernel, 1) + bias, recurrent)
        return tf.transpose(hidden, (1, 0, 2))

    def peer(inputs: Any, *weights: Any) -> Any:
        untrained = [variable.value for variable in layer.non_trainable_variables]
        return layer.stateless_call(list(weights), untrained, inputs)[0]

    def gradients(function: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([inputs, *weights])
            states = function(inputs, *weights)
            loss = tf.reduce_sum(states * upstream)
        return [states, *tape.gradient(loss, [inputs, *weights])]

    mine = tf.function(lambda: gradients(ours), jit_compile=compiled, autograph=False)()
    theirs = tf.function(lambda: gradients(peer), autograph=False)()
    for one, other in zip(mine, theirs, strict=True):
        scale = float(tf.reduce_max(tf.abs(other)))
        np.testing.assert_allclose(one.numpy() / scale, other.numpy() / scale, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("classic", {}),
        ("classic", {"layers": 2, "embedding": 5}),
        ("default", {}),
        ("default", {"layers": 3, "embedding": 0}),
        ("default", {"vocabulary_size": 150}),
        ("default", {"vocabulary_size": 150, "tied_embedding": True, "dropout": 0.4}),
        ("classic", {"layers": 2, "embedding": 5, "tied_embedding": True}),
        ("default", {"layers": 2, "dropout": 0.4}),
        ("classic", {"layers": 2, "embedding": 5, "dropout": 0.4}),
    ],
)
def test_both_backends_give_the_same_loss_and_gradients(kind: str, changes: dict[str, Any]) -> None:
    size = changes.pop("vocabulary_size", 30)
    config = small_config(kind, size, **changes)
    random = np.random.default_rng(1)
    weights = {
        name: tf.constant(array)
        for name, array in pad(initial_weights(config.network, 3), config.network).items()
    }
    windows = tf.constant(random.integers(0, size, (6, config.window + 1)), tf.int32)
    shares = tf.constant(random.uniform(size=6), tf.float32)
    masks = step_masks(replace(config, batch_size=6), range(1))
    mask = None if masks is None else tf.constant(masks[0])
    mine, my_loss = XlaGradients(config).gradients(weights, windows, shares, mask)
    theirs, their_loss = KerasGradients(config).gradients(weights, windows, shares, mask)
    assert float(my_loss) == pytest.approx(float(their_loss), abs=1e-4)
    for name, gradient in theirs.items():
        np.testing.assert_allclose(mine[name], gradient, atol=1e-5, err_msg=name)


def test_a_padded_vocabulary_changes_no_loss_and_gets_no_gradient() -> None:
    config = small_config("default", 30)
    network = config.network
    weights = initial_weights(network, 3)
    random = np.random.default_rng(1)
    windows = random.integers(0, 30, (4, 13)).astype(np.int32)
    by_time = tf.constant(windows.T)
    padded = {name: tf.constant(array) for name, array in pad(weights, network).items()}
    with_padding = logits(padded, by_time[:-1], network, last=False).numpy()
    without = logits(
        {name: tf.constant(array) for name, array in weights.items()}, by_time[:-1], network, False
    ).numpy()
    np.testing.assert_allclose(with_padding[..., :30], without, atol=1e-6)
    exact = tf.nn.log_softmax(without.astype(np.float64)).numpy()
    mass = tf.nn.softmax(with_padding).numpy()
    assert np.all(mass[..., 30:] == 0)
    picked = np.take_along_axis(exact, windows.T[1:, :, None], 2).sum()
    gradients, loss = XlaGradients(config).gradients(padded, tf.constant(windows), tf.ones(4))
    assert float(loss) == pytest.approx(-picked, rel=1e-6)
    assert np.all(gradients["head.bias"].numpy()[30:] == 0)
    assert np.all(gradients["head.kernel"].numpy()[:, 30:] == 0)
    assert np.all(gradients["embedding"].numpy()[30:] == 0)


def test_initial_weights_are_those_of_keras() -> None:
    network = NetworkConfig(vocabulary_size=57, embedding=0, units=64, layers=2, window=60)
    weights = initial_weights(network, 0)
    # The largest of a matrix depends on the draws.
    keras.utils.set_random_seed(0)
    variables = build_model(network, last=True, vocabulary=57).trainable_variables
    assert [array.shape for array in weights.values()] == [tuple(v.shape) for v in variables]
    for array, variable in zip(weights.values(), variables, strict=True):
        theirs = variable.numpy()
        assert array.dtype == theirs.dtype
        assert array.mean() == pytest.approx(theirs.mean(), abs=0.02)
        assert array.std() == pytest.approx(theirs.std(), rel=0.05, abs=1e-6)
        assert np.abs(array).max() == pytest.approx(np.abs(theirs).max(), rel=0.25)
    recurrent = weights["lstm.1.recurrent_kernel"]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(64), atol=1e-5)
    assert weights["lstm.0.bias"][64:128].tolist() == [1] * 64
    assert not np.array_equal(weights["head.kernel"], initial_weights(network, 1)["head.kernel"])


class CudnnTaken(Exception):
    """Keras has called cuDNN, as on a machine with a GPU."""


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Keras decide as if there were a GPU; using cuDNN raises `CudnnTaken`."""
    # The package's attribute of the same name is a function.
    rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")

    def taken(*_: object, **__: object) -> None:
        raise CudnnTaken

    monkeypatch.setattr(rnn, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(rnn, "_cudnn_lstm", taken)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("masked", [False, True])
def test_keras_takes_cudnn_for_our_layers(masked: bool) -> None:
    network = NetworkConfig(vocabulary_size=20, embedding=6, units=10, layers=2, window=None)
    model = build_model(network, last=False, vocabulary=20, masked=masked)
    assert uses_cudnn(model)
    windows, masks = np.zeros((3, 5), np.int32), np.ones((3, 2, 10), np.float32)
    with pytest.raises(CudnnTaken):
        model([windows, masks] if masked else windows)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"use_bias": False},
        {"unroll": True},
        {"recurrent_dropout": 0.1},
        {"use_cudnn": False},
    ],
    ids=str,
)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_keras_does_not_take_cudnn_for_anything_else(changes: dict[str, Any]) -> None:
    layer = keras.layers.LSTM(8, **changes)
    # This call would raise if Keras took cuDNN.
    assert layer(np.zeros((2, 4, 3), np.float32)).shape == (2, 8)
    assert not uses_cudnn(keras.Sequential([keras.Input((4, 3)), layer]))


@pytest.mark.gpu
@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="there is no GPU here")
def test_cudnn_is_in_the_graph_of_a_gpu() -> None:
    config = small_config("default", 30, layers=2)
    weights = pad(initial_weights(config.network, 3), config.network)
    graph = KerasGradients(config).gradients.get_concrete_function(
        {name: tf.constant(array) for name, array in weights.items()},
        tf.zeros((4, config.window + 1), tf.int32),
        tf.ones(4),
    )
    assert "CudnnRNNV3" in {node.op for node in graph.graph.as_graph_def().node}


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_gives_the_same_loss_and_gradients(tmp_path: Path) -> None:
    config = small_config("default", 30, layers=2, dropout=0.4)
    random = np.random.default_rng(1)
    weights = pad(initial_weights(config.network, 3), config.network)
    windows = random.integers(0, 30, (8, config.window + 1)).astype(np.int32)
    shares = random.uniform(size=8).astype(np.float32)
    masks = step_masks(config, range(1))
    assert masks is not None
    kept = {f"weights.{name}": array for name, array in weights.items()}
    np.savez(tmp_path / "in.npz", windows=windows, shares=shares, masks=masks[0], **kept)
    program = [sys.executable, "-c", ON_JAX, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run(program, check=True, env=os.environ | {"KERAS_BACKEND": "jax"})
    tensors = {name: tf.constant(array) for name, array in weights.items()}
    mine, loss = XlaGradients(config).gradients(tensors, windows, shares, masks[0])
    theirs = np.load(tmp_path / "out.npz")
    assert float(loss) == pytest.approx(float(theirs["loss"]), abs=1e-4)
    for name, gradient in mine.items():
        np.testing.assert_allclose(gradient, theirs[name], atol=1e-5, err_msg=name)
