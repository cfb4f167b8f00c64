"""Texts of the sampler: what they depend on, and what they must never depend on."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.ml.networks import (
    CLASSIC,
    STATEFUL,
    count_traces,
    draft,
    make_weights,
    reference_logits,
)
from worker.ml.config import NetworkConfig
from worker.ml.sampling import step
from worker.ml.sampling.rng import uniforms
from worker.ml.sampling.sampler import NotFinite, Sampler, SamplingRequest
from worker.ml.sampling.step import BLOCK

STACKED = NetworkConfig(vocabulary_size=30, embedding=0, units=16, layers=2, window=None)
CLASSIC_STACKED = NetworkConfig(vocabulary_size=40, embedding=6, units=12, layers=2, window=7)
#: Its matrices are too large for a core's cache, so that several texts are written at once.
WIDE = NetworkConfig(vocabulary_size=700, embedding=4, units=200, layers=1, window=None)


def mixed_drafts(network: NetworkConfig) -> list[SamplingRequest]:
    """Eight drafts that differ in everything."""
    random = np.random.default_rng(3)
    return [
        SamplingRequest(
            prompt=random.integers(0, network.vocabulary_size, length),
            length=80 - 9 * row,
            temperature=(0.0, 0.3, 0.7, 1.0, 1.3)[row % 5],
            top_k=(None, 5, 20)[row % 3],
            top_p=(None, 0.9)[row % 2],
            seed=row // 2,
        )
        for row, length in enumerate((1, 70, 3, 12, 13, 5, 31, 60))
    ]


@pytest.mark.parametrize("network", [STACKED, CLASSIC_STACKED, WIDE])
def test_a_text_is_the_same_alone_and_in_any_batch(network: NetworkConfig) -> None:
    sampler = Sampler(make_weights(network), network)
    drafts = mixed_drafts(network)
    alone = [sampler.write([each])[0] for each in drafts]
    for together in (drafts, drafts[::-1], drafts[2:5]):
        for each, text in zip(together, sampler.write(together), strict=True):
            np.testing.assert_array_equal(text, alone[drafts.index(each)])
    assert [len(text) for text in alone] == [each.length for each in drafts]


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC])
def test_a_longer_text_begins_with_the_shorter_one(network: NetworkConfig) -> None:
    sampler = Sampler(make_weights(network), network)
    long, short = (sampler.write([draft(length=length)])[0] for length in (BLOCK + 90, BLOCK - 1))
    np.testing.assert_array_equal(long[: len(short)], short)


def test_where_a_block_ends_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    whole = sampler.write(mixed_drafts(CLASSIC))
    monkeypatch.setattr(step, "MULTIPLY_ADDS_PER_CALL", 2_000_000)
    for one, other in zip(whole, sampler.write(mixed_drafts(CLASSIC)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_drafts_than_the_largest_batch_take_turns() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    texts = sampler.write([draft(length=5, seed=seed) for seed in range(35)])
    assert len(texts) == 35
    np.testing.assert_array_equal(texts[34], sampler.write([draft(length=5, seed=34)])[0])
    assert sampler.write([]) == []


def test_another_seed_writes_another_text() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    texts = sampler.write([draft(seed=seed) for seed in (0, 1, 2**64 - 1)])
    assert len({text.tobytes() for text in texts}) == 3


@pytest.mark.parametrize("network", [STATEFUL, STACKED, CLASSIC, CLASSIC_STACKED])
@pytest.mark.parametrize("prompt_length", [1, 20])
def test_temperature_0_writes_what_the_formulas_say(
    network: NetworkConfig, prompt_length: int
) -> None:
    weights = make_weights(network)
    prompt = np.random.default_rng(5).integers(0, network.vocabulary_size, prompt_length)
    ids = list(prompt)
    for _ in range(40):
        # The naive way: the whole window, or the whole text, anew for each character.
        seen = np.array(ids[-(network.window or 0) :])
        ids.append(int(np.argmax(reference_logits(weights, network, seen))))
    text = Sampler(weights, network).write([draft(prompt, length=40, temperature=0.0)])[0]
    np.testing.assert_array_equal(text, ids[prompt_length:])


@pytest.mark.parametrize("options", [{"xla": False}, {"exact": False}])
@pytest.mark.parametrize("network", [STATEFUL, CLASSIC_STACKED])
def test_other_ways_to_compute_write_the_same_likeliest_text(
    network: NetworkConfig, options: dict[str, bool]
) -> None:
    weights = make_weights(network)
    drafts = [draft(length=30, temperature=0.0), draft([4], length=30, temperature=0.0, top_k=3)]
    expected = Sampler(weights, network).write(drafts)
    for one, other in zip(
        expected, Sampler(weights, network, **options).write(drafts), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_nothing_new_is_traced_for_other_prompts_numbers_or_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    for rows in (1, 4):
        for filtered in (False, True):
            sampler.warm(rows, filtered=filtered)
    traces = count_traces(monkeypatch)
    for weights in (make_weights(CLASSIC), make_weights(CLASSIC, seed=1)):
        other = Sampler(weights, CLASSIC)
        other.write([draft([5], length=3, temperature=0.1)])
        other.write([draft(range(33), length=BLOCK + 1, temperature=0.0, top_p=0.3)])
        other.write(mixed_drafts(CLASSIC)[:3])
        other.write([draft(), draft(length=0), draft([9] * 20)])
    # An alphabet of another size runs in the same padded vocabulary.
    smaller = replace(CLASSIC, vocabulary_size=31)
    Sampler(make_weights(smaller), smaller).write([draft()])
    assert not traces


@pytest.mark.parametrize("network", [STATEFUL, WIDE])
def test_stop_returns_what_was_written(
    network: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MULTIPLY_ADDS_PER_CALL", 20_000_000)
    sampler = Sampler(make_weights(network), network)
    drafts = [draft(length=3000), draft(range(50), length=3000)]
    answers = iter([False, False, True])
    first, second = sampler.write(drafts, lambda: next(answers))
    assert 0 < len(first) < 3000
    assert len(second) < len(first)
    whole = sampler.write([replace(drafts[0], length=len(first))])[0]
    np.testing.assert_array_equal(first, whole)
    assert [len(text) for text in sampler.write([draft()], lambda: True)] == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", np.array([], np.int32)),
        ("length", -1),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("seed", -1),
        ("seed", 2**64),
    ],
)
def test_a_draft_that_cannot_be_written_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        draft(**{name: value})


def test_prompts_and_weights_that_do_not_fit_are_refused() -> None:
    weights = make_weights(STATEFUL)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        Sampler(weights, STATEFUL).write([draft([57])])
    with pytest.raises(ValueError, match=r"weight head\.bias is missing or not of shape \(57,\)"):
        Sampler({**weights, "head.bias": np.zeros(64, np.float32)}, STATEFUL)
    broken = {**weights, "head.bias": np.full(57, np.nan, np.float32)}
    with pytest.raises(NotFinite, match=r"head\.bias"):
        Sampler(broken, STATEFUL)


def test_random_numbers_are_named_by_their_position() -> None:
    numbers = uniforms(11, 0, 4000)
    for start, count in ((0, 1), (1, 9), (7, 4), (513, 100)):
        np.testing.assert_array_equal(uniforms(11, start, count), numbers[start : start + count])
    assert numbers.dtype == np.float32
    assert 0 < numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.02
    assert not np.array_equal(numbers, uniforms(12, 0, 4000))
