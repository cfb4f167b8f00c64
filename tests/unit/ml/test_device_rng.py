"""Random numbers made on a device are NumPy's, to the bit."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tests.unit.ml.networks import STATEFUL, make_request, make_weights
from worker.ml.sampling.batch import _Batch
from worker.ml.sampling.device_rng import device_uniforms, pack_streams
from worker.ml.sampling.rng import SEEDS, uniforms
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.shape import BLOCK
from worker.ml.sampling.step import step_function

#: Where halves of words, and the counter of four positions, carry.
EDGES = (0, 1, 2, 3, 4, 5, 2**31 - 1, 2**32 - 2, 2**34 - 3, 2**34, 2**53, 2**62 + 1)


def made_on_device(
    seeds: npt.ArrayLike, positions: npt.ArrayLike, *, compiled: bool
) -> npt.NDArray[np.float32]:
    streams = pack_streams(np.asarray(seeds, np.uint64), np.asarray(positions, np.int64))
    function = tf.function(device_uniforms, jit_compile=compiled)
    found: npt.NDArray[np.float32] = function(tf.constant(streams), BLOCK).numpy()
    return found


@pytest.mark.parametrize("compiled", [True, False])
def test_every_bit_is_that_of_the_host(compiled: bool) -> None:
    random = np.random.default_rng(0)
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63, SEEDS - 1]
    texts = [(seed, position) for seed in seeds for position in EDGES]
    texts += [
        (int(seed), int(position))
        for seed, position in zip(
            random.integers(0, SEEDS, 300, np.uint64), random.integers(0, 2**40, 300), strict=True
        )
    ]
    found = made_on_device(*zip(*texts, strict=True), compiled=compiled)
    expected = np.stack([uniforms(seed, position, BLOCK) for seed, position in texts], 1)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


def test_numbers_go_on_where_an_earlier_call_ended() -> None:
    whole = made_on_device([5], [0], compiled=True)[:, 0]
    for begin in range(1, 9):
        part = made_on_device([5], [begin], compiled=True)[:, 0]
        assert part[: BLOCK - begin].tobytes() == whole[begin:].tobytes()


def test_numbers_before_a_text_are_defined_too() -> None:
    """A prompt's steps draw nothing, but the text's first number stands in its place."""
    found = made_on_device([9], [-7], compiled=True)[:, 0]
    assert ((found > 0) & (found < 1)).all()
    assert found[7:].tobytes() == uniforms(9, 0, BLOCK - 7).tobytes()


@pytest.mark.parametrize("filtered", [False, True])
def test_no_array_of_random_numbers_is_uploaded(filtered: bool) -> None:
    """A call's arguments for a GPU have 16 bytes of random state a row."""
    sampler = Sampler(make_weights(STATEFUL), STATEFUL, exact=False)
    request = make_request(length=300, top_k=5 if filtered else None)
    sequences = [sampler.new_sequence(request)]
    shape = replace(sampler.batch_shape(1), filtered=filtered)
    signature = step_function(shape).function.structured_input_signature[0]
    given = _Batch(shape, sequences, [0], 64).arguments
    assert signature[5].shape == (shape.rows, 4) == given[4].shape
    assert signature[5].dtype == tf.int32
    # Temperatures are the only floats of every step.
    floats = [each for each in given if each.dtype == np.float32 and each.shape[0] == BLOCK]
    assert len(floats) == 1


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 0.7])
def test_temperature_0_takes_the_smallest_number_there_too(temperature: float) -> None:
    """Of equal logits temperature 0 takes the first, any other one draws."""
    weights = {name: np.zeros_like(array) for name, array in make_weights(STATEFUL).items()}
    requests = [make_request(length=50, temperature=temperature, seed=seed) for seed in range(4)]
    mine = Sampler(weights, STATEFUL).generate(requests)
    theirs = Sampler(weights, STATEFUL, exact=False).generate(requests)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (len({int(token) for text in mine for token in text}) == 1) is (temperature == 0)
