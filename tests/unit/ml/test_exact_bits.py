"""No bit of a text may depend on the sequences that share its batches, or on when they do."""

import random
from collections import abc
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tests.unit.ml.networks import CHARACTERS, STATEFUL, make_requests, make_weights, preset
from worker.ml.config import NetworkConfig
from worker.ml.sampling.batch import _Batch
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import (
    EXACT_BUCKETS,
    Sampler,
    SamplingRequest,
)
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.shape import StepShape
from worker.ml.sampling.stack import CPU_RULE, _stack_weights, advance_stack
from worker.ml.sampling.step import step_function

STACK, STACKED_ROWS = CPU_RULE.sizes[0], CPU_RULE.rows
DEFAULT = preset("default")
DEEP = NetworkConfig(vocabulary_size=96, embedding=128, units=512, layers=2, window=None)
#: A size that is stacked, and one that fills no register evenly.
SHARING = NetworkConfig(vocabulary_size=57, embedding=64, units=128, layers=1, window=None)
UNEVEN = NetworkConfig(vocabulary_size=70, embedding=0, units=37, layers=2, window=None)


def bits_of(sequence: Sequence) -> tuple[bytes, bytes, bytes]:
    """All bits of a sequence: its output, its log-probabilities, in which every logit has a share,
    and its final state."""
    assert len(sequence.output_ids) == CHARACTERS
    return sequence.output_ids.tobytes(), sequence.logprobs.tobytes(), sequence.state.tobytes()


def alone(
    sampler: Sampler, wanted: abc.Sequence[SamplingRequest]
) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    for request in wanted:
        sequence = sampler.new_sequence(request)
        while sequence.remaining_steps:
            # One step past the last would change the state.
            sampler.advance([sequence], min(sequence.remaining_steps, 50))
        found.append(bits_of(sequence))
    return found


def batchable(request: SamplingRequest, *, filtered: bool) -> SamplingRequest:
    """Change a request so that it can share batches with others for its whole length."""
    limit = 20 if filtered else None
    return replace(
        request, prompt=request.prompt[:1], top_k=limit, top_p=None, repetition_penalty=1.0
    )


@pytest.mark.parametrize("network", [DEFAULT, SHARING, UNEVEN])
def test_100_texts_have_the_same_bits_alone_and_under_random_admission(
    network: NetworkConfig,
) -> None:
    sampler, *strangers = (Sampler(make_weights(network, seed, 0.3), network) for seed in range(6))
    wanted = make_requests(network, 100)
    expected = alone(sampler, wanted)
    engine, dice = Engine(threads=2), random.Random(3)
    sequences = [sampler.new_sequence(request) for request in wanted]
    waiting = [(sequence, sampler) for sequence in sequences]
    for i, request in enumerate(make_requests(network, 30, seed=5)):
        stranger = strangers[i % len(strangers)]
        waiting.append((stranger.new_sequence(request), stranger))
    dice.shuffle(waiting)
    widest, stacked = 0, _stack_weights.cache_info()
    while waiting or len(engine):
        for _ in range(min(len(waiting), dice.choice((0, 0, 1, 3, 40)))):
            sequence, its = waiting.pop()
            engine.add(sequence, its, owner=dice.randrange(5))
        widest = max(widest, len(engine))
        engine.step()
    engine.close()
    assert widest > 64
    assert (_stack_weights.cache_info() != stacked) is sampler.stackable
    # States are not compared: a sequence's last block may have run past its last step.
    for sequence, (text, logprobs, _) in zip(sequences, expected, strict=True):
        assert sequence.output_ids.tobytes() == text
        assert sequence.logprobs.tobytes() == logprobs


@pytest.mark.parametrize("network", [DEFAULT, SHARING, UNEVEN, STATEFUL])
@pytest.mark.parametrize("filtered", [False, True])
def test_every_size_of_a_batch_gives_a_row_the_same_bits(
    network: NetworkConfig, filtered: bool
) -> None:
    sampler = Sampler(make_weights(network, scale=0.3), network)
    texts = [batchable(request, filtered=filtered) for request in make_requests(network, 32)]
    found: dict[int, list[tuple[bytes, bytes, bytes]]] = {}
    for size in EXACT_BUCKETS:
        sequences = [sampler.new_sequence(request) for request in texts]
        for first in range(0, len(sequences), size):
            batch = sequences[first : first + size]
            while batch[0].remaining_steps:
                sampler.advance(batch, min(40, batch[0].remaining_steps))
        found[size] = [bits_of(sequence) for sequence in sequences]
    assert all(bits == found[EXACT_BUCKETS[0]] for bits in found.values())


@pytest.mark.parametrize("network", [SHARING, UNEVEN, STATEFUL])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_stack_of_checkpoints_gives_each_row_the_bits_that_it_has_alone(
    network: NetworkConfig, filtered: bool
) -> None:
    samplers = [Sampler(make_weights(network, seed, 0.3), network) for seed in range(STACK - 1)]
    texts = [
        batchable(request, filtered=filtered)
        for request in make_requests(network, STACKED_ROWS * STACK)
    ]
    # One place of the stack stays empty, and one sampler has only one sequence.
    wanted = [texts[2 * i : 2 * i + (1 if i == 1 else STACKED_ROWS)] for i in range(STACK - 1)]
    groups = [
        (sampler, [sampler.new_sequence(request) for request in some])
        for sampler, some in zip(samplers, wanted, strict=True)
    ]
    before = _stack_weights.cache_info().misses
    while groups[0][1][0].remaining_steps:
        advance_stack(groups, min(40, groups[0][1][0].remaining_steps))
        # Another order stacks nothing again and changes no bit.
        groups.append(groups.pop(0))
    assert _stack_weights.cache_info().misses == before + 1
    for sampler, sequences in groups:
        some = wanted[samplers.index(sampler)]
        assert [bits_of(sequence) for sequence in sequences] == alone(sampler, some)


def logits_of(
    weights: abc.Sequence[tf.Tensor],
    sequences: abc.Sequence[Sequence],
    places: abc.Sequence[int],
    shape: StepShape,
    steps: int,
) -> npt.NDArray[np.float32]:
    """Advance sequences as `batch.run_batch` does; returns their logits, [steps, B, V].

    The graph that returns logits is not the usual one. Their common results must be equal, or its
    logits would prove nothing about those that texts are drawn from.
    """
    shape = replace(shape, filtered=sequences[0].request.filtered)
    batch = _Batch(shape, sequences, places, steps)
    arguments = (weights, *map(tf.constant, batch.arguments), list(map(tf.constant, batch.limits)))
    with_logits = replace(shape, logits=True)
    usual = [result.numpy() for result in step_function(shape)(*arguments)]
    *same, logits = (result.numpy() for result in step_function(with_logits)(*arguments))
    assert [result.tobytes() for result in same] == [result.tobytes() for result in usual]
    batch.unpack(*same, report=None, reported=())
    found: npt.NDArray[np.float32] = logits[:steps]
    return found


@pytest.mark.parametrize(
    ("network", "filtered"),
    [*product((DEFAULT, SHARING, UNEVEN), (False, True)), (DEEP, False)],
)
def test_the_logits_of_a_text_have_the_same_bits_alone_and_among_strangers(
    network: NetworkConfig, filtered: bool
) -> None:
    sampler, *others = (Sampler(make_weights(network, seed, 0.3), network) for seed in range(STACK))
    text, *rest = (batchable(request, filtered=filtered) for request in make_requests(network, 40))
    pair = replace(sampler.shape, rows=EXACT_BUCKETS[0])
    expected, single = [], sampler.new_sequence(text)
    while single.remaining_steps:
        expected.append(
            logits_of(sampler.weights, [single], [0], pair, min(single.remaining_steps, 50))[:, 0]
        )

    sequence, found, dice = sampler.new_sequence(text), [], random.Random(4)
    # Strangers continue for longer, so that they are anywhere in their texts.
    crowd = [sampler.new_sequence(replace(request, length=4000)) for request in rest]
    guests = [(other, other.new_sequence(replace(text, length=4000))) for other in others]
    while sequence.remaining_steps:
        size = dice.choice((*EXACT_BUCKETS, STACK) if sampler.stackable else EXACT_BUCKETS)
        if size == STACK:
            seats = dice.sample([(sampler, sequence), *guests], STACK)
            weights, sequences = (
                _stack_weights(tuple(one for one, _ in seats)),
                [member for _, member in seats],
            )
            places = [n * STACKED_ROWS + dice.randrange(STACKED_ROWS) for n in range(STACK)]
            shape = replace(sampler.shape, rows=STACK * STACKED_ROWS, stack=STACK)
        else:
            sequences = dice.sample(crowd, dice.randrange(size))
            sequences.insert(dice.randrange(len(sequences) + 1), sequence)
            weights, places = sampler.weights, list(range(len(sequences)))
            shape = replace(sampler.shape, rows=size)
        row = places[sequences.index(sequence)]
        steps = min(sequence.remaining_steps, dice.randrange(1, 12))
        found.append(logits_of(weights, sequences, places, shape, steps)[:, row])

    single_logits = np.concatenate(expected)
    assert single_logits.shape == (CHARACTERS, sampler.shape.vocabulary)
    assert np.concatenate(found).tobytes() == single_logits.tobytes()
    assert bits_of(sequence) == bits_of(single)
    # These are the logits that the characters were drawn from.
    given = np.take_along_axis(single_logits, single.output_ids[:, None], axis=1)[:, 0]
    mass = np.exp(single_logits.astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(single.logprobs, given - np.log(mass), atol=1e-4)


def test_another_order_of_sums_changes_the_bits() -> None:
    """The comparisons above can fail: a batch of one row sums in another order."""
    sampler = Sampler(make_weights(SHARING, scale=0.3), SHARING)
    text = batchable(make_requests(SHARING, 1)[0], filtered=False)
    expected = alone(sampler, [text])
    logits = [
        logits_of(sampler.weights, [sampler.new_sequence(text)], [0], shape, 40)[:, 0].tobytes()
        for shape in (sampler.shape, replace(sampler.shape, rows=1))
    ]
    assert logits[0] != logits[1]
    sampler.buckets = (1,)
    assert alone(sampler, [text]) != expected
