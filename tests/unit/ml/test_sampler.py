"""The sampler: what its texts depend on, and what they must not depend on."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.ml.networks import (
    CLASSIC,
    STATEFUL,
    TIED,
    count_traces,
    make_request,
    make_weights,
    reference_logits,
)
from worker.ml.config import NetworkConfig
from worker.ml.sampling import shape
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.rng import uniforms
from worker.ml.sampling.sampler import NonFiniteWeights, Sampler
from worker.ml.sampling.shape import BLOCK

STACKED = NetworkConfig(vocabulary_size=30, embedding=0, units=16, layers=2, window=None)
CLASSIC_STACKED = NetworkConfig(vocabulary_size=40, embedding=6, units=12, layers=2, window=7)
#: Its matrices are too large for a core's cache, so several texts are generated at once.
WIDE = NetworkConfig(vocabulary_size=700, embedding=4, units=200, layers=1, window=None)


def mixed_requests(network: NetworkConfig) -> list[SamplingRequest]:
    """Eight requests that differ in every field."""
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


@pytest.mark.parametrize("network", [STACKED, CLASSIC_STACKED, WIDE, TIED])
def test_a_text_is_the_same_alone_and_in_any_batch(network: NetworkConfig) -> None:
    sampler = Sampler(make_weights(network), network)
    requests = mixed_requests(network)
    alone = [sampler.generate([request])[0] for request in requests]
    for together in (requests, requests[::-1], requests[2:5]):
        for request, text in zip(together, sampler.generate(together), strict=True):
            np.testing.assert_array_equal(text, alone[requests.index(request)])
    assert [len(text) for text in alone] == [request.length for request in requests]


@pytest.mark.parametrize("network", [STATEFUL, CLASSIC])
def test_a_longer_text_begins_with_the_shorter_one(network: NetworkConfig) -> None:
    sampler = Sampler(make_weights(network), network)
    long, short = (
        sampler.generate([make_request(length=length)])[0] for length in (BLOCK + 90, BLOCK - 1)
    )
    np.testing.assert_array_equal(long[: len(short)], short)


def test_where_a_block_ends_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    whole = sampler.generate(mixed_requests(CLASSIC))
    monkeypatch.setattr(shape, "SHORT_MULTIPLY_ADDS_PER_CALL", 2_000_000)
    for one, other in zip(whole, sampler.generate(mixed_requests(CLASSIC)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_requests_than_the_largest_batch_take_turns() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    texts = sampler.generate([make_request(length=5, seed=seed) for seed in range(35)])
    assert len(texts) == 35
    np.testing.assert_array_equal(texts[34], sampler.generate([make_request(length=5, seed=34)])[0])
    assert sampler.generate([]) == []


def test_another_seed_gives_another_text() -> None:
    sampler = Sampler(make_weights(STATEFUL), STATEFUL)
    texts = sampler.generate([make_request(seed=seed) for seed in (0, 1, 2**64 - 1)])
    assert len({text.tobytes() for text in texts}) == 3


@pytest.mark.parametrize("network", [STATEFUL, STACKED, CLASSIC, CLASSIC_STACKED, TIED])
@pytest.mark.parametrize("prompt_length", [1, 20])
def test_temperature_0_generates_what_the_formulas_say(
    network: NetworkConfig, prompt_length: int
) -> None:
    weights = make_weights(network)
    prompt = np.random.default_rng(5).integers(0, network.vocabulary_size, prompt_length)
    ids = list(prompt)
    for _ in range(40):
        # The simple way: recompute the whole window, or the whole text, for each character.
        seen = np.array(ids[-(network.window or 0) :])
        ids.append(int(np.argmax(reference_logits(weights, network, seen))))
    text = Sampler(weights, network).generate([make_request(prompt, length=40, temperature=0.0)])[0]
    np.testing.assert_array_equal(text, ids[prompt_length:])


@pytest.mark.parametrize("options", [{"xla": False}, {"exact": False}])
@pytest.mark.parametrize("network", [STATEFUL, CLASSIC_STACKED])
def test_other_ways_to_compute_give_the_same_likeliest_text(
    network: NetworkConfig, options: dict[str, bool]
) -> None:
    weights = make_weights(network)
    requests = [
        make_request(length=30, temperature=0.0),
        make_request([4], length=30, temperature=0.0, top_k=3),
    ]
    expected = Sampler(weights, network).generate(requests)
    for one, other in zip(
        expected, Sampler(weights, network, **options).generate(requests), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_nothing_new_is_traced_for_other_prompts_numbers_or_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = Sampler(make_weights(CLASSIC), CLASSIC)
    for rows in (1, 4):
        for filtered in (False, True):
            sampler.warm_up(rows, filtered=filtered)
    traces = count_traces(monkeypatch)
    for weights in (make_weights(CLASSIC), make_weights(CLASSIC, seed=1)):
        other = Sampler(weights, CLASSIC)
        other.generate([make_request([5], length=3, temperature=0.1)])
        other.generate([make_request(range(33), length=BLOCK + 1, temperature=0.0, top_p=0.3)])
        other.generate(mixed_requests(CLASSIC)[:3])
        other.generate([make_request(), make_request(length=0), make_request([9] * 20)])
    # An alphabet of another size has the same padded vocabulary.
    smaller = replace(CLASSIC, vocabulary_size=31)
    Sampler(make_weights(smaller), smaller).generate([make_request()])
    assert not traces


@pytest.mark.parametrize("network", [STATEFUL, WIDE])
def test_stop_returns_what_was_written(
    network: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape, "SHORT_MULTIPLY_ADDS_PER_CALL", 20_000_000)
    sampler = Sampler(make_weights(network), network)
    requests = [make_request(length=3000), make_request(range(50), length=3000)]
    answers = iter([False, False, True])
    first, second = sampler.generate(requests, lambda: next(answers))
    assert 0 < len(first) < 3000
    assert len(second) < len(first)
    whole = sampler.generate([replace(requests[0], length=len(first))])[0]
    np.testing.assert_array_equal(first, whole)
    assert [len(text) for text in sampler.generate([make_request()], lambda: True)] == [0]


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
def test_a_request_with_a_field_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        make_request(**{name: value})


def test_mismatched_prompts_and_weights_are_refused() -> None:
    weights = make_weights(STATEFUL)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        Sampler(weights, STATEFUL).generate([make_request([57])])
    with pytest.raises(ValueError, match=r"weight head\.bias is missing or not of shape \(57,\)"):
        Sampler({**weights, "head.bias": np.zeros(64, np.float32)}, STATEFUL)
    broken = {**weights, "head.bias": np.full(57, np.nan, np.float32)}
    with pytest.raises(NonFiniteWeights, match=r"head\.bias"):
        Sampler(broken, STATEFUL)


def test_random_numbers_depend_only_on_seed_and_position() -> None:
    numbers = uniforms(11, 0, 4000)
    for start, count in ((0, 1), (1, 9), (7, 4), (513, 100)):
        np.testing.assert_array_equal(uniforms(11, start, count), numbers[start : start + count])
    assert numbers.dtype == np.float32
    assert 0 < numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.02
    assert not np.array_equal(numbers, uniforms(12, 0, 4000))
