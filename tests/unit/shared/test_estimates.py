"""What a training is expected to take, and the number that has to be lower."""

from typing import Any

import pytest

from shared.specs.estimates import (
    INDEXED_CHARACTERS,
    CorpusSize,
    assumed_speed,
    estimate,
    same_shape,
)
from shared.specs.limits import (
    LOWERED,
    ResourceLimitExceeded,
    ResourceLimits,
    find_exceeded_limit,
)
from shared.specs.presets import resolve_train
from shared.specs.training import TrainSpec

TEXT = CorpusSize(characters=600_000, alphabet_size=90)
AMPLE = ResourceLimits(memory_bytes=10**15, seconds=1e12)


def spec_of(preset: Any = "default", **changes: Any) -> TrainSpec:
    return resolve_train(preset, changes, seed=1, threads=2, shards=2)


def refused(
    spec: TrainSpec, text: CorpusSize, bounds: ResourceLimits, **more: Any
) -> ResourceLimitExceeded:
    found = find_exceeded_limit(spec, text, bounds, **more)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "more",
    [{"units": 512}, {"layers": 2}, {"batch_size": 64}, {"window": 512}, {"average_decay": 0.9}],
)
def test_more_of_a_number_takes_more_memory(more: dict[str, Any]) -> None:
    least = spec_of(average_decay=None)
    assert (
        estimate(spec_of(**{"average_decay": None, **more}), TEXT).memory_bytes
        > estimate(least, TEXT).memory_bytes
    )


def test_words_count_in_the_vocabulary_as_far_as_the_text_can_have_them() -> None:
    words = spec_of(tokenizer="word", vocabulary_limit=30_000)
    assert TEXT.vocabulary_size(spec_of()) == 90
    assert TEXT.vocabulary_size(words) == 30_090
    assert CorpusSize(400, 90).vocabulary_size(words) == 190
    assert CorpusSize(600_000, 90, words=70).vocabulary_size(words) == 160
    large, small = estimate(words, TEXT), estimate(spec_of(), TEXT)
    assert large.checkpoint_bytes > 10 * small.checkpoint_bytes
    assert large.memory_bytes > small.memory_bytes + 4 * large.checkpoint_bytes
    assert large.characters_per_second < small.characters_per_second


def test_a_tied_embedding_takes_less_for_a_large_alphabet() -> None:
    text = CorpusSize(880_000, 4447)
    tied, plain = (
        estimate(spec_of(embedding=128, tied_embedding=tied), text) for tied in (True, False)
    )
    assert tied.checkpoint_bytes < 0.6 * plain.checkpoint_bytes
    assert tied.memory_bytes < plain.memory_bytes
    assert tied.characters_per_second > 1.3 * plain.characters_per_second


def test_texts_that_are_written_meanwhile_take_memory_within_bounds() -> None:
    def of_texts(characters: int) -> int:
        text = CorpusSize(characters, 90)
        silent = estimate(spec_of(sample=None), text).memory_bytes
        return estimate(spec_of(sample={}), text).memory_bytes - silent

    assert 0 < of_texts(1000) < 100_000_000
    assert of_texts(INDEXED_CHARACTERS) - of_texts(1000) == pytest.approx(56e6, rel=0.01)
    assert of_texts(INDEXED_CHARACTERS + 1) == of_texts(100 * INDEXED_CHARACTERS) < of_texts(10_000)


def test_a_longer_text_takes_four_bytes_a_character_at_most() -> None:
    for spec in (spec_of(), spec_of("classic"), spec_of("large", tokenizer="word")):
        short, long = (estimate(spec, CorpusSize(n, 90)).memory_bytes for n in (10**7, 10**8))
        assert (long - short) / 9e7 < 4


def test_the_fastest_that_was_measured_counts() -> None:
    guessed = estimate(spec_of(), TEXT)
    assert not guessed.measured
    found = estimate(spec_of(), TEXT, [900.0, 50_000.0, 30_000.0])
    assert found.measured
    assert found.characters_per_second == 50_000
    assert found.seconds == pytest.approx(10 * 600_000 * 0.95 / 50_000, rel=0.2)
    assert found.memory_bytes == guessed.memory_bytes


def test_a_budget_is_its_own_estimate_of_time() -> None:
    found = estimate(spec_of(budget={"seconds": 90}), TEXT)
    assert (found.seconds, found.steps) == (90, None)
    bounds = ResourceLimits(AMPLE.memory_bytes, 60)
    lower = refused(spec_of(budget={"seconds": 90}), TEXT, bounds)
    assert (lower.field, lower.maximum) == ("budget", 60)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 1024, "units": 1024}, TEXT),
        ({"units": 2048, "layers": 4, "optimizer": "rmsprop"}, TEXT),
        (
            {"tokenizer": "word", "vocabulary_limit": 32_768, "window": 1024, "batch_size": 1024},
            CorpusSize(10_000_000, 90),
        ),
    ],
)
def test_the_number_that_is_proposed_is_the_greatest_that_fits(
    changes: dict[str, Any], text: CorpusSize
) -> None:
    spec, bounds = spec_of(**changes), ResourceLimits(4_000_000_000, AMPLE.seconds)
    lower = refused(spec, text, bounds)
    assert lower.maximum is not None
    assert lower.field in LOWERED
    assert "of memory and" in lower.reason
    assert "4.0 GB" in lower.reason
    assert lower.maximum < getattr(spec, lower.field)
    fits = spec.model_copy(update={lower.field: lower.maximum})
    assert find_exceeded_limit(fits, text, bounds) is None
    too_large = spec.model_copy(update={lower.field: lower.maximum + 1})
    assert find_exceeded_limit(too_large, text, bounds) is not None
    assert find_exceeded_limit(spec, text, AMPLE) is None


def test_what_can_not_be_lowered_is_not_proposed() -> None:
    spec, bounds = spec_of(units=2048, layers=4), ResourceLimits(2_000_000_000, AMPLE.seconds)
    assert refused(spec, TEXT, bounds).field in ("units", "layers")
    fixed = refused(spec, TEXT, bounds, fixed=("units", "layers"))
    assert (fixed.field, fixed.maximum) == ("units", None)


def test_a_network_that_fits_nowhere_has_no_number() -> None:
    assert refused(spec_of(), TEXT, ResourceLimits(10**6, AMPLE.seconds)).maximum is None


def test_a_training_that_is_too_long_is_shortened_by_what_it_was_measured_at() -> None:
    spec, bounds = spec_of(epochs=1000), ResourceLimits(AMPLE.memory_bytes, 3600)
    lower = refused(spec, TEXT, bounds, speeds=[100_000.0])
    assert lower.field == "epochs"
    assert lower.maximum == pytest.approx(3600 * 100_000 / (600_000 * 0.95), rel=0.05)
    assert find_exceeded_limit(spec_of(epochs=lower.maximum), TEXT, bounds, [100_000.0]) is None
    # Ten times as fast, and all of it fits.
    assert find_exceeded_limit(spec, TEXT, bounds, [1e6]) is None


def test_trainings_are_as_fast_as_each_other_where_their_shape_is_the_same() -> None:
    one = spec_of().model_dump()
    assert same_shape(one, spec_of(epochs=99, learning_rate=0.1).model_dump())
    earlier = {name: value for name, value in one.items() if name != "tied_embedding"}
    assert same_shape(one, earlier)
    for change in (
        {"tokenizer": "word"},
        {"vocabulary_limit": 100},
        {"units": 8},
        {"tied_embedding": True},
    ):
        assert not same_shape(one, spec_of(**change).model_dump()), change


@pytest.mark.parametrize(
    ("preset", "measured"), [("classic", 2.12e6), ("default", 3.02e5), ("large", 1.25e6)]
)
def test_the_speed_that_is_assumed_of_a_gpu_is_near_an_h200s_or_below(
    preset: Any, measured: float
) -> None:
    """The figures are those of docs/gpu.md. What is bound by products, others take longer for."""
    assumed = assumed_speed(spec_of(preset), 96, "gpu")
    assert measured / 4 < assumed < 1.2 * measured


def test_on_a_gpu_a_larger_batch_costs_a_small_network_nothing() -> None:
    one, four = (assumed_speed(spec_of(batch_size=n), 96, "gpu") for n in (16, 64))
    assert four == pytest.approx(4 * one, rel=0.05)
    one, four = (assumed_speed(spec_of(batch_size=n), 96, "cpu") for n in (16, 64))
    assert four == one


def test_on_a_gpu_neither_threads_nor_shards_matter() -> None:
    corpus = CorpusSize(1_000_000, 80)
    found = {
        (expected.gpu_memory_bytes, expected.memory_bytes, expected.seconds)
        for threads in (1, 64)
        for shards in (1, 8)
        for expected in [
            estimate(
                resolve_train("large", {}, seed=0, threads=threads, shards=shards),
                corpus,
                processor="gpu",
            )
        ]
    }
    assert len(found) == 1
    left, right = (
        resolve_train("large", {}, seed=0, threads=n, shards=n).model_dump() for n in (1, 4)
    )
    assert same_shape(left, right, "gpu")
    assert not same_shape(left, right)
    assert not same_shape(left, right | {"units": 8}, "gpu")
