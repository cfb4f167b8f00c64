"""Presets and seeds."""

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from shared.specs.estimates import CorpusSize
from shared.specs.presets import (
    LARGE_ALPHABET_NUMBERS,
    LONG_BUDGET_NUMBERS,
    PRESETS,
    fit_to_alphabet,
    fit_to_budget,
    resolve_train,
)
from shared.specs.seeds import new_seed, text_seed
from shared.specs.training import LARGE_ALPHABET, MAX_EPOCH_SAMPLES, SEED_LIMIT, SampleSpec
from shared.specs.windows import largest_window, minimum_characters


def test_classic_is_the_recipe_to_the_letter() -> None:
    spec = resolve_train("classic", {}, seed=1, threads=2, shards=2)
    assert (spec.window, spec.stride, spec.units, spec.batch_size) == (60, 3, 128, 128)
    assert (spec.optimizer, spec.learning_rate, spec.schedule) == ("rmsprop", 0.01, "constant")
    assert (spec.predict, spec.embedding, spec.lowercase, spec.held_out) == ("last", 0, True, 0.05)
    assert (spec.clip_norm, spec.average_decay) == (None, None)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_writes_texts_after_each_epoch_unless_told_not_to(preset: Any) -> None:
    spec = resolve_train(preset, {}, seed=1, threads=2, shards=2)
    assert spec.sample is not None
    assert (spec.sample.length, spec.sample.temperatures) == (400, [0.2, 0.5, 1.0, 1.2])
    assert spec.epochs is not None
    steps = 7 * spec.epochs
    due = [step for step in range(1, steps + 1) if spec.sample.due(step, 7, steps)]
    assert due == [*range(7, steps + 1, 7)]
    assert resolve_train(preset, {"sample": None}, seed=1, threads=2, shards=2).sample is None


@pytest.mark.parametrize(
    ("sample", "epochs", "apart"),
    [
        (SampleSpec(), MAX_EPOCH_SAMPLES, 1),
        (SampleSpec(), MAX_EPOCH_SAMPLES + 1, 2),
        (SampleSpec(), 3000, 60),
        (SampleSpec(every_epochs=4), 4 * MAX_EPOCH_SAMPLES, 4),
        (SampleSpec(every_epochs=4), 401, 8),
        (SampleSpec(every_epochs=500), 3000, 500),
    ],
)
def test_many_epochs_have_texts_at_most_fifty_times(
    sample: SampleSpec, epochs: int, apart: int
) -> None:
    steps = 2 * epochs + 1
    due = [step for step in range(1, steps + 1) if sample.due(step, 2, steps)]
    assert due == [*range(2 * apart, steps + 1, 2 * apart)]
    assert len(due) <= MAX_EPOCH_SAMPLES


def test_texts_by_steps_come_as_often_as_they_are_asked_for() -> None:
    sample = SampleSpec(every_steps=3, every_epochs=2)
    due = [step for step in range(1, 4001) if sample.due(step, 4, 4000)]
    assert due == sorted({*range(3, 4001, 3), *range(80, 4001, 80)})


def test_changes_win_and_are_checked() -> None:
    spec = resolve_train("default", {"units": 64, "sample": None}, seed=1, threads=2, shards=2)
    assert (spec.units, spec.sample, spec.preset) == (64, None, "default")
    with pytest.raises(ValidationError, match="units"):
        resolve_train("default", {"units": 0}, seed=1, threads=1, shards=1)
    with pytest.raises(ValidationError, match="colour"):
        resolve_train("default", {"colour": 1}, seed=1, threads=1, shards=1)


@pytest.mark.parametrize("preset", PRESETS)
def test_only_an_embedding_is_tied_and_only_for_a_large_alphabet(preset: Any) -> None:
    spec = resolve_train(preset, {}, seed=1, threads=2, shards=2)
    assert fit_to_alphabet(spec, LARGE_ALPHABET - 1) == spec
    large = fit_to_alphabet(spec, LARGE_ALPHABET)
    assert large.tied_embedding == (preset != "classic")
    given = set(LARGE_ALPHABET_NUMBERS[preset])
    kept = spec.model_copy(update={"tied_embedding": large.tied_embedding})
    assert fit_to_alphabet(spec, LARGE_ALPHABET, given) == kept
    assert fit_to_alphabet(spec, LARGE_ALPHABET, {"tied_embedding"}) == spec


@pytest.mark.parametrize("preset", PRESETS)
def test_a_budget_that_is_long_for_its_text_drops_more(preset: Any) -> None:
    spec = resolve_train(preset, {"budget": {"seconds": 300}}, seed=1, threads=2, shards=2)
    short, long = CorpusSize(20_000_000, 60), CorpusSize(200_000, 60)
    assert fit_to_budget(spec, short) == spec
    assert fit_to_budget(spec, long).dropout == LONG_BUDGET_NUMBERS[preset].get("dropout", 0)
    assert fit_to_budget(spec, long, set(LONG_BUDGET_NUMBERS[preset])) == spec
    by_epochs = resolve_train(preset, {"epochs": 900}, seed=1, threads=2, shards=2)
    assert fit_to_budget(by_epochs, long) == by_epochs


@pytest.mark.parametrize(
    ("characters", "given", "items", "numbers"),
    [
        (600_000, (), False, (192, 192)),
        (400_000, (), False, (96, 96)),
        (600_000, (), True, (96, 96)),
        (600_000, ("window",), False, (96, 96)),
        (600_000, ("stride",), False, (96, 96)),
        (600_000, ("dropout",), False, (192, 192)),
    ],
)
def test_a_long_budget_has_longer_windows_where_the_text_is_long(
    characters: int, given: tuple[str, ...], items: bool, numbers: tuple[int, int]
) -> None:
    spec = resolve_train("default", {"budget": {"seconds": 3600}}, seed=1, threads=2, shards=2)
    fitted = fit_to_budget(spec, CorpusSize(characters, 60), given, items=items)
    assert (fitted.window, fitted.stride) == numbers
    assert fitted.dropout == (0.1 if "dropout" in given else 0.3)


@pytest.mark.parametrize(
    ("seconds", "characters", "alphabet", "long"),
    [(300, 1_115_394, 65, True), (90, 1_115_394, 65, False), (90, 446_034, 60, False)],
)
def test_a_budget_is_long_from_about_a_dozen_passes_over_the_text_on(
    seconds: float, characters: int, alphabet: int, long: bool
) -> None:
    changes = {"budget": {"seconds": seconds}}
    spec = resolve_train("default", changes, seed=1, threads=2, shards=2)
    assert (fit_to_budget(spec, CorpusSize(characters, alphabet)) != spec) == long


def test_a_batch_is_never_cut_into_more_pieces_than_windows() -> None:
    assert resolve_train("default", {"batch_size": 1}, seed=1, threads=4, shards=4).shards == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_spec_survives_the_database(preset: str) -> None:
    spec = resolve_train(preset, {}, seed=5, threads=2, shards=2)  # type: ignore[arg-type]
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(("window", "held_out"), [(60, 0.05), (96, 0.05), (4, 0.5), (1024, 0.01)])
def test_the_shortest_text_holds_a_window_on_each_side(window: int, held_out: float) -> None:
    def fits(count: int) -> bool:
        tail = int(count * held_out)
        return tail > window and count - tail > window

    shortest = minimum_characters(window, held_out)
    assert fits(shortest)
    assert not fits(shortest - 1)
    assert largest_window(shortest, held_out) == window
    assert largest_window(shortest - 1, held_out) == window - 1


def test_the_rule_for_a_text_s_seed() -> None:
    assert text_seed(7, 0, 0) == 7
    expected = int.from_bytes(hashlib.sha256(b"quire:7:1:2").digest()[:8]) % 2**53
    assert text_seed(7, 1, 2) == expected
    seeds = {text_seed(7, j, i) for j in range(20) for i in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < SEED_LIMIT for seed in (*seeds, new_seed()))
