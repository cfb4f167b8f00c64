"""What a text is may not depend on who sits beside it, or when: not in its last bit."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tests.unit.ml.networks import CHARACTERS, STATEFUL, drafts, make_weights, preset
from worker.ml.config import NetworkConfig
from worker.ml.sampling.batch import _Batch
from worker.ml.sampling.engine import Engine
from worker.ml.sampling.sampler import (
    EXACT_BUCKETS,
    STACK,
    STACKED_ROWS,
    Sampler,
    SamplingRequest,
    _stacked,
    advance_together,
)
from worker.ml.sampling.sequence import Stream
from worker.ml.sampling.step import StepShape, step_function

DEFAULT = preset("default")
#: As many units as share steps, and a number that fills no register evenly.
SHARING = NetworkConfig(vocabulary_size=57, embedding=64, units=128, layers=1, window=None)
UNEVEN = NetworkConfig(vocabulary_size=70, embedding=0, units=37, layers=2, window=None)


def seen(stream: Stream) -> tuple[bytes, bytes, bytes]:
    """All bits of a text: what was written, what the network thought of each character, in which
    every logit of its step has a share, and the state that it was left in."""
    assert len(stream.written) == CHARACTERS
    return stream.written.tobytes(), stream.logprobs.tobytes(), stream.state.tobytes()


def alone(sampler: Sampler, wanted: Sequence[SamplingRequest]) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    for each in wanted:
        stream = sampler.start(each)
        while stream.left:
            # One step more than the last would move the state on.
            sampler.advance([stream], min(stream.left, 50))
        found.append(seen(stream))
    return found


def alike(each: SamplingRequest, *, filtered: bool) -> SamplingRequest:
    """The draft so that it shares batches with others, and as long as they."""
    limit = 20 if filtered else None
    return replace(each, prompt=each.prompt[:1], top_k=limit, top_p=None, repetition_penalty=1.0)


@pytest.mark.parametrize("network", [DEFAULT, SHARING, UNEVEN])
def test_100_texts_have_the_same_bits_alone_and_under_random_admission(
    network: NetworkConfig,
) -> None:
    sampler, *strangers = (Sampler(make_weights(network, seed, 0.3), network) for seed in range(6))
    wanted = drafts(network, 100)
    expected = alone(sampler, wanted)
    engine, dice = Engine(threads=2), random.Random(3)
    streams = [sampler.start(each) for each in wanted]
    waiting = [(stream, sampler) for stream in streams]
    for i, each in enumerate(drafts(network, 30, seed=5)):
        stranger = strangers[i % len(strangers)]
        waiting.append((stranger.start(each), stranger))
    dice.shuffle(waiting)
    widest, stacked = 0, _stacked.cache_info()
    while waiting or len(engine):
        for _ in range(min(len(waiting), dice.choice((0, 0, 1, 3, 40)))):
            stream, its = waiting.pop()
            engine.admit(stream, its, owner=dice.randrange(5))
        widest = max(widest, len(engine))
        engine.step()
    engine.close()
    assert widest > 64
    assert (_stacked.cache_info() != stacked) is sampler.stackable
    # The state of a stream is that of its last step only where its last block ended there.
    for stream, (text, logprobs, _) in zip(streams, expected, strict=True):
        assert stream.written.tobytes() == text
        assert stream.logprobs.tobytes() == logprobs


@pytest.mark.parametrize("network", [DEFAULT, SHARING, UNEVEN, STATEFUL])
@pytest.mark.parametrize("filtered", [False, True])
def test_every_size_of_a_batch_gives_a_row_the_same_bits(
    network: NetworkConfig, filtered: bool
) -> None:
    sampler = Sampler(make_weights(network, scale=0.3), network)
    texts = [alike(each, filtered=filtered) for each in drafts(network, 32)]
    found: dict[int, list[tuple[bytes, bytes, bytes]]] = {}
    for size in EXACT_BUCKETS:
        streams = [sampler.start(each) for each in texts]
        for first in range(0, len(streams), size):
            batch = streams[first : first + size]
            while batch[0].left:
                sampler.advance(batch, min(40, batch[0].left))
        found[size] = [seen(stream) for stream in streams]
    assert all(bits == found[EXACT_BUCKETS[0]] for bits in found.values())


@pytest.mark.parametrize("network", [SHARING, UNEVEN, STATEFUL])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_stack_of_checkpoints_gives_each_row_the_bits_that_it_has_alone(
    network: NetworkConfig, filtered: bool
) -> None:
    samplers = [Sampler(make_weights(network, seed, 0.3), network) for seed in range(STACK - 1)]
    texts = [alike(each, filtered=filtered) for each in drafts(network, STACKED_ROWS * STACK)]
    # One place of the stack stays empty, and one sampler has a single text.
    wanted = [texts[2 * i : 2 * i + (1 if i == 1 else STACKED_ROWS)] for i in range(STACK - 1)]
    groups = [
        (sampler, [sampler.start(each) for each in some])
        for sampler, some in zip(samplers, wanted, strict=True)
    ]
    before = _stacked.cache_info().misses
    while groups[0][1][0].left:
        advance_together(groups, min(40, groups[0][1][0].left))
        # Turns change the order; nothing is stacked again, and no bit changes.
        groups.append(groups.pop(0))
    assert _stacked.cache_info().misses == before + 1
    for sampler, streams in groups:
        some = wanted[samplers.index(sampler)]
        assert [seen(stream) for stream in streams] == alone(sampler, some)


def logits_of(
    weights: Sequence[tf.Tensor],
    streams: Sequence[Stream],
    places: Sequence[int],
    shape: StepShape,
    steps: int,
) -> npt.NDArray[np.float32]:
    """Move streams on as `sample_batch.advance` does; their logits too, [steps, B, V].

    The graph that hands out logits is another one. It must agree with the usual one in all that
    both tell, or its logits would say nothing of those that texts are drawn from.
    """
    shape = replace(shape, filtered=streams[0].draft.filtered)
    batch = _Batch(shape, streams, places, steps)
    arguments = (weights, *map(tf.constant, batch.arguments), list(map(tf.constant, batch.limits)))
    telling = replace(shape, logits=True)
    usual = [each.numpy() for each in step_function(shape)(*arguments)]
    *same, logits = (each.numpy() for each in step_function(telling)(*arguments))
    assert [each.tobytes() for each in same] == [each.tobytes() for each in usual]
    batch.give_back(*same)
    told: npt.NDArray[np.float32] = logits[:steps]
    return told


@pytest.mark.parametrize(
    ("network", "filtered"),
    [*product((DEFAULT, SHARING, UNEVEN), (False, True)), (preset("large"), False)],
)
def test_the_logits_of_a_text_have_the_same_bits_alone_and_among_strangers(
    network: NetworkConfig, filtered: bool
) -> None:
    sampler, *others = (Sampler(make_weights(network, seed, 0.3), network) for seed in range(STACK))
    text, *rest = (alike(each, filtered=filtered) for each in drafts(network, 40))
    pair = replace(sampler.shape, rows=EXACT_BUCKETS[0])
    expected, single = [], sampler.start(text)
    while single.left:
        expected.append(logits_of(sampler.weights, [single], [0], pair, min(single.left, 50))[:, 0])

    stream, found, dice = sampler.start(text), [], random.Random(4)
    # Strangers go on for longer, so that they are anywhere in their texts.
    crowd = [sampler.start(replace(each, length=4000)) for each in rest]
    guests = [(other, other.start(replace(text, length=4000))) for other in others]
    while stream.left:
        size = dice.choice((*EXACT_BUCKETS, STACK) if sampler.stackable else EXACT_BUCKETS)
        if size == STACK:
            seats = dice.sample([(sampler, stream), *guests], STACK)
            weights, streams = _stacked(tuple(one for one, _ in seats)), [each for _, each in seats]
            places = [n * STACKED_ROWS + dice.randrange(STACKED_ROWS) for n in range(STACK)]
            shape = replace(sampler.shape, rows=STACK * STACKED_ROWS, stack=STACK)
        else:
            streams = dice.sample(crowd, dice.randrange(size))
            streams.insert(dice.randrange(len(streams) + 1), stream)
            weights, places = sampler.weights, list(range(len(streams)))
            shape = replace(sampler.shape, rows=size)
        row = places[streams.index(stream)]
        steps = min(stream.left, dice.randrange(1, 12))
        found.append(logits_of(weights, streams, places, shape, steps)[:, row])

    told = np.concatenate(expected)
    assert told.shape == (CHARACTERS, sampler.shape.vocabulary)
    assert np.concatenate(found).tobytes() == told.tobytes()
    assert seen(stream) == seen(single)
    # They are the logits that the characters were drawn from.
    given = np.take_along_axis(told, single.written[:, None], axis=1)[:, 0]
    mass = np.exp(told.astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(single.logprobs, given - np.log(mass), atol=1e-4)


def test_another_order_of_sums_would_be_noticed() -> None:
    """The comparisons above can fail: a batch of one row adds up in another order."""
    sampler = Sampler(make_weights(SHARING, scale=0.3), SHARING)
    text = alike(drafts(SHARING, 1)[0], filtered=False)
    expected = alone(sampler, [text])
    logits = [
        logits_of(sampler.weights, [sampler.start(text)], [0], shape, 40)[:, 0].tobytes()
        for shape in (sampler.shape, replace(sampler.shape, rows=1))
    ]
    assert logits[0] != logits[1]
    sampler.buckets = (1,)
    assert alone(sampler, [text]) != expected
