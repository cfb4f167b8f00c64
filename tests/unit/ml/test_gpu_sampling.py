"""Sampling by a GPU's rules, run on the CPU: long calls, wide batches, sorted draws."""

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from tests.unit.ml.networks import CLASSIC, STATEFUL, make_request, make_weights, preset
from worker.ml.config import NetworkConfig
from worker.ml.sampling import batch, pace
from worker.ml.sampling.draw import _keep_likeliest, _keep_likeliest_sorted, draw
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.pace import GPU_STEPS, Pace, pace_of
from worker.ml.sampling.sampler import GPU_MAX_STACKED_BYTES, Sampler
from worker.ml.sampling.shape import BLOCK, StepShape
from worker.ml.sampling.stack import GPU_RULE
from worker.ml.sampling.step import step_function


def below(random: np.random.Generator, rows: int, size: int, *, ties: bool) -> Any:
    logits = random.normal(0, 3, (rows, size)).astype(np.float32)
    if ties:
        logits = np.round(logits)
    logits[:, -3:] = -np.inf  # padding
    return logits - logits.max(1, keepdims=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", [8, 96, 512])
@pytest.mark.parametrize("seed", range(4))
def test_a_sort_keeps_what_31_passes_keep(size: int, ties: bool, seed: int) -> None:
    """Every row keeps the same entries, unless the entry on the edge is one of rounding.

    Both keep entries as likely as the last one, so ties make no difference. The two add the mass up
    in different orders, so where a sum lies within rounding of `top_p` one more may be kept.
    """
    random = np.random.default_rng((size, seed))
    rows = 400
    distance = -below(random, rows, size, ties=ties)
    inverse = random.choice([0.5, 1.0, 2.0, 50.0, 3e38], rows).astype(np.float32)
    top_k = random.choice([1, 2, 5, size - 3, size, 2**31 - 1], rows).astype(np.int32)
    top_p = random.choice([1e-30, 0.1, 0.5, 0.9, 0.999, 1.0], rows).astype(np.float32)
    with np.errstate(over="ignore"):
        mass = np.exp(-distance * inverse[:, None])
    passes = _keep_likeliest(*map(tf.constant, (distance, mass, top_k, top_p))).numpy()
    sort = _keep_likeliest_sorted(
        *map(tf.constant, (distance, mass, inverse, top_k, top_p))
    ).numpy()
    differing = np.flatnonzero((passes != sort).any(-1))
    assert len(differing) < 0.01 * rows
    for row in differing:
        kept = mass[row].astype(np.float64)
        kept[distance[row] > np.sort(distance[row])[min(top_k[row], size) - 1]] = 0
        edge = distance[row][passes[row] != sort[row]]
        assert len(set(edge)) == 1, "one entry and its equals"
        before = kept[distance[row] < edge[0]].sum() / kept.sum()
        assert abs(before - top_p[row]) < 1e-5
    # Every row keeps its likeliest entries, and no padding.
    assert ((sort > 0) | (distance > 0)).all()
    assert (sort[:, -3:] == 0).all()


@pytest.mark.parametrize("ties", [False, True])
def test_draws_from_what_is_kept_are_the_same(ties: bool) -> None:
    random = np.random.default_rng(1)
    rows, size = 2000, 96
    given = (
        tf.constant(below(random, rows, size, ties=ties)),
        tf.constant(random.uniform(0.001, 0.999, rows).astype(np.float32)),
        tf.constant(random.choice([0.5, 1.0, 2.0, 50.0], rows).astype(np.float32)),
        tf.constant(random.choice([1, 2, 5, size, 2**31 - 1], rows).astype(np.int32)),
        tf.constant(random.choice([1e-30, 0.1, 0.9, 0.999, 1.0], rows).astype(np.float32)),
    )
    passes, sort = draw(*given).numpy(), draw(*given, by_sorting=True).numpy()
    assert (passes == sort).mean() > 0.995
    assert sort.max() < size - 3


def operations_of(shape: StepShape) -> Counter[str]:
    graph = step_function(shape).function.graph.as_graph_def()
    inner = [node for each in graph.library.function for node in each.node_def]
    return Counter(node.op for node in (*graph.node, *inner))


def test_a_gpus_graph_has_one_loop_and_sorts_where_a_cpus_bisects() -> None:
    shape = StepShape(96, 16, 1, None, 32, True, True)
    cpu, gpu = operations_of(shape), operations_of(replace(shape, gpu=True))
    loops = [found["While"] + found["StatelessWhile"] for found in (cpu, gpu)]
    assert loops == [3, 1], "the steps; on a CPU also the bisections for top-k and top-p"
    assert (cpu["TopKV2"], gpu["TopKV2"]) == (0, 1)
    plain = operations_of(replace(shape, gpu=True, filtered=False))
    assert plain["TopKV2"] == 0, "nothing is sorted that restricts nothing"


@pytest.mark.parametrize("stack", [1, 8])
@pytest.mark.parametrize("filtered", [False, True])
def test_xla_has_every_operation_of_a_gpus_graph_for_gpus(stack: int, filtered: bool) -> None:
    """In its types too: random numbers are 64-bit integers. XLA knows these without a GPU."""
    # XLA registers its kernels when it first compiles.
    tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))
    shape = StepShape(96, 16, 2, None, 64, filtered, True, stack=stack, gpu=True)
    graph = step_function(shape).function.graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    assert any(node.attr["T"].type == tf.uint64.as_datatype_enum for node in nodes)
    for node in nodes:
        if node.op != "Placeholder":
            assert any(takes(kernel, node) for kernel in kernels_for_gpus(node.op)), node


def kernels_for_gpus(operation: str) -> list[Any]:
    found = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel for kernel in found if kernel.device_type == "XLA_GPU_JIT"]


def takes(kernel: Any, node: Any) -> bool:
    return all(
        node.attr[constraint.name].type in constraint.allowed_values.list.type
        for constraint in kernel.constraint
        if node.attr[constraint.name].type
    )


@pytest.mark.parametrize(
    ("step_seconds", "short", "long"),
    [(1e-5, BLOCK, BLOCK), (1e-4, 100, BLOCK), (2e-4, 64, 150), (1e-2, 64, 64)],
)
def test_a_call_runs_64_to_256_steps_by_the_time_that_they_took(
    step_seconds: float, short: int, long: int
) -> None:
    of_shape = Pace()
    assert of_shape.steps(short=True) == of_shape.steps(short=False) == GPU_STEPS == 64
    of_shape.record(BLOCK, 30.0)  # compiles
    of_shape.record(1, 1.0)  # is only the price of a call
    assert of_shape.steps(short=False) == 64
    of_shape.record(64, 64 * step_seconds)
    assert of_shape.steps(short=True) == pytest.approx(short, abs=1)
    assert of_shape.steps(short=False) == pytest.approx(long, abs=1)
    for _ in range(40):
        of_shape.record(64, 64 * 1e-2)
    assert of_shape.steps(short=False) == 64, "a card that others use meanwhile gets shorter calls"


@pytest.mark.parametrize(("seconds", "most"), [(1e9, BLOCK), (0.0, GPU_STEPS)])
def test_the_engine_runs_as_many_steps_as_the_time_allows(
    seconds: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LONG_SECONDS", seconds)
    pace_of.cache_clear()
    sampler = Sampler(make_weights(STATEFUL), STATEFUL, exact=False)
    sequence = sampler.new_sequence(make_request(length=2000))
    engine = Engine(threads=1)
    engine.add(sequence, sampler, owner="ann")
    counts = []
    for _ in range(4):
        before = sequence.computed_tokens
        engine.step()
        counts.append(sequence.computed_tokens - before)
    # The first call may compile, the second is measured.
    assert counts == [GPU_STEPS, GPU_STEPS, most, most]
    engine.close()


def test_a_batch_holds_2048_sequences_and_classic_shares_one() -> None:
    assert Sampler(make_weights(STATEFUL), STATEFUL, exact=False).capacity == 2048
    assert Sampler(make_weights(CLASSIC), CLASSIC, exact=False).capacity == 32


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC], ids=["stateful", "classic"])
def test_texts_are_those_of_a_cpu(network: NetworkConfig) -> None:
    """Here the bits may differ, but a text changes only where a draw lies on an edge."""
    weights = make_weights(network)
    choices = product((0.0, 0.5, 0.8, 1.2), (None, 1, 5, 30), (None, 0.3, 0.95), (1.0, 1.3))
    requests = [
        make_request(
            seed=seed,
            length=60,
            temperature=temperature,
            temperature_to=1.0 if seed % 5 == 0 else None,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=penalty,
        )
        for seed, (temperature, top_k, top_p, penalty) in enumerate(choices)
    ]
    mine = Sampler(weights, network).generate(requests)
    theirs = Sampler(weights, network, exact=False).generate(requests)
    same = sum(np.array_equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert same >= 0.95 * len(requests)


@pytest.mark.parametrize(("checkpoints", "size"), [(3, 8), (8, 8), (20, 64)])
def test_checkpoints_of_one_shape_are_stacked_and_write_what_each_writes_alone(
    checkpoints: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[StepShape] = []

    def noted(shape: StepShape) -> Any:
        shapes.append(shape)
        return step_function(shape)

    monkeypatch.setattr(batch, "step_function", noted)
    samplers = [
        Sampler(make_weights(STATEFUL, seed), STATEFUL, exact=False) for seed in range(checkpoints)
    ]
    requests = [make_request(length=50, seed=seed) for seed in range(3)]
    engine = Engine(threads=1)
    written = []
    for sampler in samplers:
        for request in requests:
            sequence = sampler.new_sequence(request)
            engine.add(sequence, sampler, owner="ann")
            written.append(sequence)
    assert len(engine.step()) == 3 * checkpoints
    assert {(shape.stack, shape.rows) for shape in shapes} == {(size, 8 * size)}
    while len(engine):
        engine.step()
    engine.close()
    alone = [text for sampler in samplers for text in sampler.generate(requests)]
    same = [np.array_equal(one.output_ids, text) for one, text in zip(written, alone, strict=True)]
    assert np.mean(same) > 0.9, "only a draw on an edge may differ"


def test_a_stack_is_taken_only_where_it_advances_more_than_turns() -> None:
    """Three checkpoints with 40 texts each advance 40 in turns; a stack has room for 24."""
    samplers = [Sampler(make_weights(STATEFUL, seed), STATEFUL, exact=False) for seed in range(3)]
    engine = Engine(threads=1)
    for sampler in samplers:
        for seed in range(40):
            engine.add(sampler.new_sequence(make_request(seed=seed)), sampler, owner="ann")
    assert len(engine.step()) == 40
    engine.close()


def test_what_is_stacked_on_a_gpu_is_bounded_by_memory_and_windows() -> None:
    """The preset `default` is stacked there, which a CPU's cache could not hold."""
    for network, on_gpu in ((STATEFUL, True), (preset("default"), True), (preset("large"), False)):
        sampler = Sampler(make_weights(network), network, exact=False)
        assert sampler.stackable is on_gpu
    assert not Sampler(make_weights(CLASSIC), CLASSIC, exact=False).stackable
    assert GPU_RULE.sizes == (8, 64)
    assert GPU_RULE.sizes[-1] * GPU_MAX_STACKED_BYTES <= GPU_RULE.kept_bytes
