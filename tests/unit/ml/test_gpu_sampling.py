"""Sampling by a GPU's rules, run on the CPU: long calls, wide batches, sorted draws."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.unit.ml.networks import CLASSIC, STATEFUL, make_request, make_weights
from worker.ml.config import NetworkConfig
from worker.ml.sampling.draw import draw
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.shape import BLOCK, StepShape


def below(random: np.random.Generator, rows: int, size: int, *, ties: bool) -> Any:
    logits = random.normal(0, 3, (rows, size)).astype(np.float32)
    if ties:
        logits = np.round(logits)
    logits[:, -3:] = -np.inf  # padding
    return logits - logits.max(1, keepdims=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", [8, 96, 512])
def test_a_sort_keeps_what_31_passes_keep(size: int, ties: bool) -> None:
    random = np.random.default_rng(size)
    rows = 400
    given = (
        tf.constant(below(random, rows, size, ties=ties)),
        tf.constant(random.uniform(0.001, 0.999, rows).astype(np.float32)),
        tf.constant(random.choice([0.5, 1.0, 2.0, 50.0], rows).astype(np.float32)),
        tf.constant(random.choice([1, 2, 5, size, 2**31 - 1], rows).astype(np.int32)),
        tf.constant(random.choice([1e-30, 0.1, 0.9, 0.999, 1.0], rows).astype(np.float32)),
    )
    passes, sort = draw(*given).numpy(), draw(*given, by_sorting=True).numpy()
    # The sums are added in another order, which may move a bound by one entry.
    assert (passes == sort).mean() > 0.99
    assert sort.max() < size - 3
    greedy = given[3].numpy() == 1
    assert (given[0].numpy()[greedy, sort[greedy]] == 0).all()


@pytest.mark.parametrize("rows", [1, 32, 512, 2048])
@pytest.mark.parametrize(("units", "layers"), [(128, 1), (256, 1), (1024, 2)])
def test_a_call_runs_64_to_256_steps_whatever_its_rows(rows: int, units: int, layers: int) -> None:
    shape = StepShape(96, units, layers, None, rows, False, True, gpu=True)
    assert shape.steps_per_call == 64
    assert 64 <= shape.unfollowed_steps_per_call <= BLOCK


def test_a_batch_holds_2048_sequences_and_classic_shares_one() -> None:
    assert Sampler(make_weights(STATEFUL), STATEFUL, exact=False).capacity == 2048
    assert Sampler(make_weights(CLASSIC), CLASSIC, exact=False).capacity == 32


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC], ids=["stateful", "classic"])
def test_texts_are_those_of_a_cpu(network: NetworkConfig) -> None:
    """Here the bits may differ, but a text changes only where a draw lies on an edge."""
    weights = make_weights(network)
    requests = [
        make_request(seed=seed, length=60, top_k=None if seed % 2 else 5, temperature=0.8)
        for seed in range(20)
    ]
    mine = Sampler(weights, network).generate(requests)
    theirs = Sampler(weights, network, exact=False).generate(requests)
    same = sum(np.array_equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert same >= 18
