"""The draw: its distribution, its limits, and the logits that it draws from."""

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from worker.ml.config import NetworkConfig, padded_vocabulary
from worker.ml.sampling.network import fold_weights, step_network
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.shape import StepShape

DRAWS = 20_000
#: 57 is searched in one level, 700 in two.
SIZES = (57, 700)


def constant_logits(size: int) -> npt.NDArray[np.float32]:
    """Logits without ties, far from flat, the largest somewhere in the middle."""
    return np.random.default_rng(size).normal(0, 2, size).astype(np.float32)


def constant_network(logits: npt.NDArray[np.float32]) -> Sampler:
    """A network whose logits are always the same, so that draws are independent."""
    network = NetworkConfig(len(logits), embedding=0, units=4, layers=1, window=None)
    weights = {name: np.zeros(sizes, np.float32) for name, sizes in network.weight_shapes().items()}
    return Sampler({**weights, "head.bias": logits}, network)


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    scaled = logits.astype(np.float64) / temperature
    mass = np.exp(scaled - scaled.max())
    return mass / mass.sum()


def drawn(
    logits: npt.NDArray[np.float32],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    length: int = DRAWS,
    seed: int = 1,
) -> npt.NDArray[np.int32]:
    request = SamplingRequest(np.zeros(1, np.int32), length, temperature, top_k, top_p, seed)
    return constant_network(logits).generate([request])[0]


def assert_follows(ids: npt.NDArray[np.int32], expected: npt.NDArray[np.float64]) -> None:
    """Chi-square test of the counts against a distribution; rare entries count as one."""
    counts = np.bincount(ids, minlength=len(expected))
    often = expected * len(ids) >= 5
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum()) * len(ids)
    kept = wanted > 0
    assert observed[~kept].sum() == 0
    freedom = kept.sum() - 1
    chi_square = ((observed[kept] - wanted[kept]) ** 2 / wanted[kept]).sum()
    # Three standard deviations above the mean of the chi-square distribution.
    assert chi_square < freedom + 3 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.2, 1.0, 1.7])
def test_draws_follow_the_softmax(size: int, temperature: float) -> None:
    logits = constant_logits(size)
    assert_follows(drawn(logits, temperature), softmax(logits, temperature))


@pytest.mark.parametrize("size", SIZES)
def test_draws_within_limits_follow_the_remaining_mass(size: int) -> None:
    logits = constant_logits(size)
    top_k, top_p, temperature = 12, 0.8, 1.3
    order = np.argsort(-logits)[:top_k]
    likeliest = softmax(logits, temperature)[order]
    likeliest /= likeliest.sum()
    nucleus = order[: int(np.searchsorted(likeliest.cumsum(), top_p)) + 1]
    expected = np.zeros(size)
    expected[nucleus] = softmax(logits, temperature)[nucleus]
    ids = drawn(logits, temperature, top_k, top_p)
    assert set(ids) == set(nucleus)
    assert_follows(ids, expected / expected.sum())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-9])
def test_a_low_temperature_draws_the_likeliest(size: int, temperature: float) -> None:
    logits = constant_logits(size)
    assert set(drawn(logits, temperature, length=50)) == {int(np.argmax(logits))}


def test_temperature_0_draws_the_first_of_several_likeliest() -> None:
    logits = np.zeros(57, np.float32)
    logits[[20, 21, 50]] = 1
    assert set(drawn(logits, 0.0, length=50)) == {20}


@pytest.mark.parametrize("size", SIZES)
def test_a_high_temperature_draws_every_character_and_never_padding(size: int) -> None:
    assert padded_vocabulary(size) > size
    for temperature in (1e9, 1e300):
        assert set(drawn(constant_logits(size), temperature)) == set(range(size))


@pytest.mark.parametrize("size", SIZES)
def test_limits_that_exclude_nothing_change_nothing(size: int) -> None:
    logits = constant_logits(size)
    free = drawn(logits, length=500)
    for top_k, top_p in ((size, None), (size + 1, 1.0), (2**40, None), (None, 1.0)):
        np.testing.assert_array_equal(drawn(logits, 1.0, top_k, top_p, length=500), free)


@pytest.mark.parametrize("size", SIZES)
def test_the_tightest_limits_keep_only_the_likeliest(size: int) -> None:
    logits = constant_logits(size)
    for top_k, top_p in ((1, None), (None, 1e-12), (None, 1e-300), (1, 1e-12)):
        for temperature in (0.5, 1e12):
            ids = drawn(logits, temperature, top_k, top_p, length=50)
            assert set(ids) == {int(np.argmax(logits))}


def test_top_k_holds_for_almost_equal_probabilities() -> None:
    logits = constant_logits(57)
    ids = drawn(logits, 1e12, top_k=3, length=500)
    assert set(ids) == set(np.argsort(-logits)[:3])


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(vocabulary_size=57, embedding=8, units=24, layers=1, window=None),
        NetworkConfig(vocabulary_size=30, embedding=0, units=16, layers=2, window=None),
        NetworkConfig(vocabulary_size=40, embedding=0, units=20, layers=1, window=9),
        NetworkConfig(vocabulary_size=40, embedding=6, units=12, layers=2, window=5),
    ],
)
def test_logits_are_those_of_stock_keras(network: NetworkConfig) -> None:
    random = np.random.default_rng(2)
    weights = {
        name: random.normal(0, 0.5, sizes).astype(np.float32)
        for name, sizes in network.weight_shapes().items()
    }
    ids = random.integers(0, network.vocabulary_size, 24)
    model = stock_model(network, weights)
    shape = StepShape(
        vocabulary=padded_vocabulary(network.vocabulary_size),
        units=network.units,
        layers=network.layers,
        window=network.window,
        rows=1,
        filtered=False,
        xla=False,
    )
    folded = [tf.constant(array) for array in fold_weights(weights, network)]
    states = [part for layer in tf.unstack(shape.new_state()) for part in tf.unstack(layer)]
    for clock, character in enumerate(ids):
        fed = tf.constant([character], tf.int32)
        states, logits = step_network(shape, folded, states, fed, tf.constant([clock]))
        begin = max(0, clock + 1 - network.window) if network.window else 0
        seen = ids[begin : clock + 1][None]
        if not network.embedding:
            seen = np.eye(network.vocabulary_size, dtype=np.float32)[seen]
        expected = model(seen)[0]
        known = logits[0, : network.vocabulary_size]
        np.testing.assert_allclose(known, expected, atol=1e-4)
        assert np.all(np.isneginf(logits[0, network.vocabulary_size :]))


def stock_model(network: NetworkConfig, weights: dict[str, npt.NDArray[np.float32]]) -> keras.Model:
    layers: list[keras.Layer] = []
    if network.embedding:
        inputs = keras.Input((None,), dtype="int32")
        layers.append(keras.layers.Embedding(network.vocabulary_size, network.embedding))
    else:
        inputs = keras.Input((None, network.vocabulary_size))
    for layer in range(network.layers):
        layers.append(keras.layers.LSTM(network.units, return_sequences=layer < network.layers - 1))
    layers.append(keras.layers.Dense(network.vocabulary_size))
    model = keras.Sequential([inputs, *layers])
    model.set_weights([weights[name] for name in network.weight_shapes()])
    return model
