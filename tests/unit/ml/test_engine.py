"""One batch for everybody: what a text is may not depend on who sits beside it, or when."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.unit.ml.test_sample import CLASSIC, STATEFUL, draft, make_weights
from worker.ml.config import NetworkConfig
from worker.ml.engine import Engine
from worker.ml.sample import EXACT_BUCKETS, STACK, STACKED_ROWS, Draft, Sampler, advance_together
from worker.ml.sample_step import step_function
from worker.ml.sample_stream import Stream

CHARACTERS = 400
#: Of the sizes that people train: the presets' units, and one that fills no register evenly.
PRESETS = NetworkConfig(vocabulary_size=57, embedding=64, units=128, layers=1, window=None)
DEFAULT = NetworkConfig(vocabulary_size=96, embedding=64, units=192, layers=1, window=None)
UNEVEN = NetworkConfig(vocabulary_size=70, embedding=0, units=37, layers=2, window=None)


def drafts(network: NetworkConfig, count: int, seed: int = 0) -> list[Draft]:
    """Drafts that differ in everything, each of `CHARACTERS` characters."""
    dice = np.random.default_rng(seed)
    return [
        Draft(
            prompt=dice.integers(0, network.vocabulary_size, dice.integers(1, 90)),
            length=CHARACTERS,
            temperature=(0.0, 0.3, 0.7, 1.0, 1.3)[i % 5],
            top_k=(None, None, None, 5)[i % 4],
            top_p=(None, None, 0.9)[i % 3],
            seed=int(dice.integers(2**53)),
            repetition_penalty=1.3 if i % 7 == 0 else 1.0,
        )
        for i in range(count)
    ]


def seen(stream: Stream) -> tuple[bytes, bytes, bytes]:
    """All bits of a text: what was written, what the network thought of each character, in which
    every logit of its step has a share, and the state that it was left in."""
    assert len(stream.written) == CHARACTERS
    return stream.written.tobytes(), stream.logprobs.tobytes(), stream.state.tobytes()


def alone(sampler: Sampler, wanted: Sequence[Draft]) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    for each in wanted:
        stream = sampler.start(each)
        while stream.left:
            # One step more than the last would move the state on.
            sampler.advance([stream], min(stream.left, 50))
        found.append(seen(stream))
    return found


@pytest.mark.parametrize("network", [PRESETS, UNEVEN])
def test_100_texts_have_the_same_bits_alone_and_under_random_admission(
    network: NetworkConfig,
) -> None:
    sampler, stranger = (Sampler(make_weights(network, seed, 0.3), network) for seed in (0, 1))
    wanted = drafts(network, 100)
    strangers = drafts(network, 30, seed=5)
    expected = alone(sampler, wanted)
    engine, dice = Engine(threads=2), random.Random(3)
    streams = [sampler.start(each) for each in wanted]
    waiting = [(stream, sampler) for stream in streams]
    waiting += [(stranger.start(each), stranger) for each in strangers]
    dice.shuffle(waiting)
    widest = 0
    while waiting or len(engine):
        for _ in range(min(len(waiting), dice.choice((0, 0, 1, 3, 40)))):
            stream, its = waiting.pop()
            engine.admit(stream, its, owner=dice.randrange(5))
        widest = max(widest, len(engine))
        engine.step()
    engine.close()
    assert widest > 64
    # The state of a stream is that of its last step only where its last block ended there.
    for stream, (text, logprobs, _) in zip(streams, expected, strict=True):
        assert stream.written.tobytes() == text
        assert stream.logprobs.tobytes() == logprobs


@pytest.mark.parametrize("network", [PRESETS, DEFAULT, UNEVEN, STATEFUL])
@pytest.mark.parametrize("filtered", [False, True])
def test_every_size_of_a_batch_gives_a_row_the_same_bits(
    network: NetworkConfig, filtered: bool
) -> None:
    sampler = Sampler(make_weights(network, scale=0.3), network)
    limit = 20 if filtered else None
    texts = [replace(each, top_k=limit, top_p=None) for each in drafts(network, 32)]
    texts = [replace(each, repetition_penalty=1.0, prompt=each.prompt[:1]) for each in texts]
    found: dict[int, list[tuple[bytes, bytes, bytes]]] = {}
    for size in EXACT_BUCKETS:
        streams = [sampler.start(each) for each in texts]
        for first in range(0, len(streams), size):
            batch = streams[first : first + size]
            while batch[0].left:
                sampler.advance(batch, min(40, batch[0].left))
        found[size] = [seen(stream) for stream in streams]
    assert all(bits == found[EXACT_BUCKETS[0]] for bits in found.values())


@pytest.mark.parametrize("network", [PRESETS, DEFAULT, UNEVEN, STATEFUL])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_stack_of_checkpoints_gives_each_row_the_bits_that_it_has_alone(
    network: NetworkConfig, filtered: bool
) -> None:
    samplers = [Sampler(make_weights(network, seed, 0.3), network) for seed in range(STACK - 1)]
    limit = 20 if filtered else None
    texts = [
        replace(each, top_k=limit, top_p=None) for each in drafts(network, STACKED_ROWS * STACK)
    ]
    texts = [replace(each, repetition_penalty=1.0, prompt=each.prompt[:1]) for each in texts]
    # One place of the stack stays empty, and one sampler has a single text.
    wanted = [texts[2 * i : 2 * i + (1 if i == 1 else STACKED_ROWS)] for i in range(STACK - 1)]
    groups = [
        (sampler, [sampler.start(each) for each in some])
        for sampler, some in zip(samplers, wanted, strict=True)
    ]
    while groups[0][1][0].left:
        advance_together(groups, min(40, groups[0][1][0].left))
    for (sampler, streams), some in zip(groups, wanted, strict=True):
        assert [seen(stream) for stream in streams] == alone(sampler, some)


def test_many_checkpoints_share_steps_and_few_take_turns() -> None:
    samplers = [Sampler(make_weights(STATEFUL, seed), STATEFUL) for seed in range(40)]
    engine = Engine(threads=2)
    for count, moved_at_once in ((2, 2), (4, 2), (5, 5), (40, 2 * STACK)):
        streams = [sampler.start(draft(length=400)) for sampler in samplers[:count]]
        for stream, sampler in zip(streams, samplers, strict=False):
            engine.admit(stream, sampler, owner="ann")
        assert len(engine.step()) == moved_at_once
        for stream in streams:
            engine.leave(stream)
    # With a window nothing is stacked, nor where a step is large products anyway.
    wide = replace(STATEFUL, units=512)
    for network in (CLASSIC, wide):
        assert not Sampler(make_weights(network), network).stackable
    engine.close()


def test_another_order_of_sums_would_be_noticed() -> None:
    """The comparison above can fail: a batch of one row adds up in another order."""
    sampler = Sampler(make_weights(PRESETS, scale=0.3), PRESETS)
    [text] = drafts(PRESETS, 1)
    expected = alone(sampler, [text])
    sampler.buckets = (1,)
    assert alone(sampler, [text]) != expected


def test_a_checkpoint_of_a_known_shape_compiles_nothing() -> None:
    first = Sampler(make_weights(STATEFUL), STATEFUL)
    for rows in first.buckets:
        for filtered in (False, True):
            first.warm(rows, filtered=filtered)
    for filtered in (False, True):
        first.warm(stacked=True, filtered=filtered)
    compiled = step_function.cache_info().misses
    traces = step_function_traces()
    others = [Sampler(make_weights(STATEFUL, seed=9 + i), STATEFUL) for i in range(20)]
    engine = Engine(threads=2)
    for i, each in enumerate(drafts(STATEFUL, 60)):
        other = others[0 if i < 40 else i - 40]
        engine.admit(other.start(each), other, owner="ann")
        engine.step()
    while len(engine):
        engine.step()
    engine.close()
    assert step_function.cache_info().misses == compiled
    assert step_function_traces() == traces


def step_function_traces() -> int:
    """Graphs that were made; a concrete function is traced and compiled once."""
    return step_function.cache_info().currsize


def finish(engine: Engine, rounds: int = 10_000) -> list[Stream]:
    """Run to the end; the streams in the order in which they ended."""
    ended: list[Stream] = []
    for _ in range(rounds):
        if not len(engine):
            break
        ended += [stream for stream in engine.step() if not stream.left]
    engine.close()
    return ended


def test_a_short_text_does_not_wait_for_a_long_one() -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    engine = Engine(threads=1)
    long = [sampler.start(draft(length=4000, seed=seed)) for seed in range(3)]
    for stream in long:
        engine.admit(stream, sampler, owner="ann")
    for _ in range(3):
        engine.step()
    short = sampler.start(draft(length=40))
    engine.admit(short, sampler, owner="bob")
    assert finish(engine)[0] is short
    assert all(not stream.left for stream in long)


def test_owners_take_turns_however_many_texts_each_has() -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    engine = Engine(threads=1)
    many = [sampler.start(draft(length=600, seed=seed)) for seed in range(20)]
    one = sampler.start(draft(length=600))
    for stream in many:
        engine.admit(stream, sampler, owner="ann")
    engine.admit(one, sampler, owner="bob")
    while one.left:
        engine.step()
    # A window's texts are written one at a time: bob had every second block, or about that.
    used = sum(stream.seconds for stream in many)
    assert 0.3 < used / one.seconds < 3
    engine.close()


def test_streams_of_several_checkpoints_all_come_to_their_end() -> None:
    samplers = [Sampler(make_weights(STATEFUL, seed), STATEFUL) for seed in range(5)]
    expected = [sampler.write([draft(length=100)])[0] for sampler in samplers]
    engine = Engine(threads=2)
    streams = [sampler.start(draft(length=100)) for sampler in samplers]
    for stream, sampler in zip(streams, samplers, strict=True):
        engine.admit(stream, sampler, owner="ann")
    assert len(finish(engine)) == 5
    for stream, text in zip(streams, expected, strict=True):
        np.testing.assert_array_equal(stream.written, text)


def test_the_first_characters_come_with_a_short_block() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    engine = Engine(threads=1)
    stream = sampler.start(draft(range(30), length=300))
    engine.admit(stream, sampler, owner="ann")
    engine.step()
    assert 1 <= len(stream.written) <= 16
    engine.leave(stream)
    engine.leave(stream)
    assert len(engine) == 0
    engine.close()


def test_a_stream_that_breaks_its_batch_breaks_alone() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    engine = Engine(threads=1)
    streams = [sampler.start(draft(length=30, seed=seed)) for seed in range(4)]
    streams[2].state = np.zeros((1, 2, 1, 5), np.float32)
    for stream in streams:
        engine.admit(stream, sampler, owner="ann")
    finish(engine)
    assert [stream.error is not None for stream in streams] == [False, False, True, False]
    assert [stream.left for stream in streams] == [0, 0, 30 + 2, 0]


def test_what_is_done_meanwhile_may_fail_and_harms_no_stream() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    engine = Engine(threads=1)
    stream = sampler.start(draft(length=300))
    engine.admit(stream, sampler, owner="ann")

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.step(meanwhile=fail)
    finish(engine)
    np.testing.assert_array_equal(stream.written, sampler.write([draft(length=300)])[0])


# What a request may say.


def logprobs_of(
    weights: dict[str, npt.NDArray[np.float32]],
    network: NetworkConfig,
    ids: npt.NDArray[np.integer],
) -> list[float]:
    """ln p of each character but the first, by the formulas."""
    from tests.unit.ml.test_sample import reference_logits

    found = []
    for place in range(1, len(ids)):
        logits = reference_logits(
            weights, network, ids[max(0, place - (network.window or place)) : place]
        )
        found.append(float(logits[ids[place]] - np.log(np.exp(logits).sum())))
    return found


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC])
def test_logprobs_are_the_networks_own(network: NetworkConfig) -> None:
    weights = make_weights(network)
    sampler = Sampler(weights, network)
    prompt = np.arange(15) % network.vocabulary_size
    written = sampler.start(draft(prompt, length=30, temperature=0.3, top_k=3))
    read = sampler.start(draft(np.concatenate([prompt, prompt]), length=0))
    for stream in (written, read):
        while stream.left:
            sampler.advance([stream])
    whole = np.concatenate([prompt, written.written])
    expected = logprobs_of(weights, network, whole)[len(prompt) - 1 :]
    np.testing.assert_allclose(written.logprobs, expected, atol=2e-4)
    expected = logprobs_of(weights, network, np.concatenate([prompt, prompt]))
    np.testing.assert_allclose(read.logprobs, expected, atol=2e-4)
    assert len(read.written) == 0


def test_a_schedule_begins_and_ends_at_its_temperatures() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    cold, still = draft(length=80, temperature=0.0), draft(length=80, temperature=1.1)
    for one, other in (
        (replace(cold, temperature_to=0.0), cold),
        (replace(still, temperature_to=1.1), still),
    ):
        np.testing.assert_array_equal(*sampler.write([one, other]))
    cooling = sampler.write([replace(still, temperature_to=0.0)])[0]
    likeliest = sampler.start(draft(np.concatenate([still.prompt, cooling[:-1]]), length=1))
    likeliest.draft = replace(likeliest.draft, temperature=0.0)
    sampler.advance([likeliest], likeliest.left)
    assert likeliest.written[0] == cooling[-1]
    assert cooling[0] == sampler.write([still])[0][0]


def test_a_repetition_penalty_makes_what_was_just_written_rare() -> None:
    network = NetworkConfig(57, embedding=0, units=4, layers=1, window=None)
    weights = {name: np.zeros(sizes, np.float32) for name, sizes in network.weight_shapes().items()}
    sampler = Sampler(weights, network)
    free, forbidden = (
        sampler.write([draft([5], length=56, repetition_penalty=penalty)])[0]
        for penalty in (1.0, 1e30)
    )
    # All 57 characters are equally likely, and all but those that were there are out of reach.
    assert sorted([5, *forbidden]) == list(range(57))
    assert len(set(free)) < 50
    # 65 characters later one may come again, wherever the blocks end.
    again = sampler.write([draft([5] + [6] * 64, length=1, top_k=1, repetition_penalty=1e30)])[0]
    assert again[0] != 6


@pytest.mark.parametrize("name", ["temperature_to", "repetition_penalty"])
def test_new_numbers_have_bounds_too(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is -1"):
        draft(**{name: -1.0})
