"""The presets of a training, and how they fit a corpus.

`classic` is the well-known character recipe, unchanged; `default` predicts at every position and
learns faster; `large` is meant for a modern GPU, and takes a CPU days.
"""

from collections.abc import Collection
from typing import Any

from shared.specs.estimates import CorpusSize, assumed_speed
from shared.specs.training import (
    LARGE_ALPHABET,
    MAX_BATCH_SIZE,
    SMALLEST_WINDOW,
    PresetName,
    SampleSpec,
    TrainNumbers,
    TrainSpec,
)

PRESETS: dict[str, TrainNumbers] = {
    "classic": TrainNumbers(
        lowercase=True,
        predict="last",
        window=60,
        stride=3,
        embedding=0,
        units=128,
        layers=1,
        batch_size=128,
        optimizer="rmsprop",
        learning_rate=0.01,
        schedule="constant",
        beta_2=0.99,
        clip_norm=None,
        average_decay=None,
        dropout=0.0,
        epochs=20,
        held_out=0.05,
        # The recipe's figures are told on the tail.
        holdout="tail",
    ),
    "default": TrainNumbers(
        lowercase=False,
        predict="every",
        window=96,
        stride=96,
        embedding=64,
        units=256,
        layers=1,
        batch_size=16,
        optimizer="adam",
        learning_rate=1.2e-2,
        schedule="cosine",
        beta_2=0.99,
        clip_norm=1.0,
        average_decay=0.998,
        dropout=0.1,
        epochs=10,
        held_out=0.05,
        holdout="spread",
    ),
    "large": TrainNumbers(
        lowercase=False,
        predict="every",
        window=128,
        stride=128,
        embedding=128,
        units=1024,
        layers=2,
        batch_size=256,
        optimizer="adam",
        learning_rate=2e-3,
        schedule="cosine",
        beta_2=0.99,
        clip_norm=1.0,
        average_decay=0.998,
        dropout=0.0,
        epochs=20,
        held_out=0.05,
        holdout="spread",
    ),
}


#: What a preset changes for a large alphabet, beside tying the embedding.
LARGE_ALPHABET_NUMBERS: dict[PresetName, dict[str, Any]] = {
    "classic": {},
    "default": {"embedding": 128},
    "large": {},
}
#: From this many passes over its corpus on, a budget is long. They are counted at the speed that is
#: assumed of a CPU, so that the choice depends on the request and on the corpus alone.
LONG_PASSES = 12.0
#: What a preset changes for a long budget: what overfits less, and is slower to learn.
LONG_BUDGET_NUMBERS: dict[PresetName, dict[str, Any]] = {
    "classic": {},
    "default": {"dropout": 0.3},
    "large": {},
}
#: And where the text has so many characters that pieces of four windows can be held out of it: a
#: longer window, each of which begins without knowing what came before.
LONG_WINDOW_CHARACTERS = 500_000
LONG_WINDOW_NUMBERS: dict[PresetName, dict[str, Any]] = {
    "classic": {},
    "default": {"window": 192, "stride": 192},
    "large": {},
}


def resolve_train(
    preset: PresetName, changes: dict[str, Any], *, seed: int, threads: int, shards: int
) -> TrainSpec:
    """Apply changes to a preset and validate the result.

    Args:
        preset: The preset, which gives all numbers that are not in `changes`.
        changes: Fields of `TrainNumbers`; `sample` (a dict, or None for no texts; by default there
            are texts after every epoch); and `budget` (a dict), which replaces the preset's
            `epochs`.
        seed: The seed of the initial weights, the order of the windows and the texts.
        threads: The threads of one operation on the worker.
        shards: The parts that a batch is split into; capped at its number of windows.
    """
    numbers = PRESETS[preset].model_dump() | changes
    numbers.setdefault("sample", SampleSpec())
    if numbers.get("budget") is not None and "epochs" not in changes:
        numbers["epochs"] = None
    shards = max(1, min(shards, int(numbers["batch_size"])))
    return TrainSpec(preset=preset, seed=seed, threads=threads, shards=shards, **numbers)


def fit_to_alphabet(spec: TrainSpec, size: int, given: Collection[str] = ()) -> TrainSpec:
    """Return the spec of a training on an alphabet: a large one ties the embedding.

    Args:
        spec: The spec, as for a small alphabet.
        size: The number of different characters.
        given: The fields that the request sets, which stay.
    """
    if size < LARGE_ALPHABET or not spec.embedding or "tied_embedding" in given:
        return spec
    changes = {
        name: value
        for name, value in LARGE_ALPHABET_NUMBERS[spec.preset].items()
        if name not in given
    }
    return spec.model_copy(update={"tied_embedding": True} | changes)


def fit_to_budget(
    spec: TrainSpec, corpus: CorpusSize, given: Collection[str] = (), *, items: bool = False
) -> TrainSpec:
    """Return the spec of a training with a time budget: a long one for its corpus drops more.

    Args:
        spec: The spec, fitted to the alphabet.
        corpus: The sizes of the corpus and its alphabet.
        given: The fields that the request sets, which stay.
        items: Whether the corpus is a list, whose windows are fitted to its items.
    """
    if spec.budget is None:
        return spec
    characters = corpus.characters * (1 - spec.held_out)
    speed = assumed_speed(spec, corpus.vocabulary_size(spec))
    if spec.budget.seconds * speed < LONG_PASSES * characters:
        return spec
    changes = {
        name: value for name, value in LONG_BUDGET_NUMBERS[spec.preset].items() if name not in given
    }
    longer = LONG_WINDOW_NUMBERS[spec.preset]
    # A window of the request needs the stride that it was meant for, and the other way round.
    if not items and characters >= LONG_WINDOW_CHARACTERS and not longer.keys() & set(given):
        changes |= longer
    return spec.model_copy(update=changes)


def fit_to_items(spec: TrainSpec, longest: int, given: Collection[str]) -> TrainSpec:
    """Return the spec of a training on a list: windows no longer than its items.

    Args:
        spec: The spec, as for a text.
        longest: The length of the longest item.
        given: The fields that the request sets, which stay. Otherwise a step has as many windows
            more as they are shorter.
    """
    window, batch_size = spec.window, spec.batch_size
    if "window" not in given:
        window = min(window, max(longest + 1, SMALLEST_WINDOW))
    if "batch_size" not in given:
        batch_size = min(batch_size * spec.window // window, MAX_BATCH_SIZE)
    return spec.model_copy(update={"items": True, "window": window, "batch_size": batch_size})
