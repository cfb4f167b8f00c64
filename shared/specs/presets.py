"""The hyperparameters of a training: presets, numbers and their bounds.

A resolved `TrainSpec` is stored with the job, so that every worker runs the same training.
`classic` is the well-known character recipe, unchanged; `default` predicts at every position and
learns faster; `large` is meant for a modern GPU, and takes a CPU days.
"""

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PresetName = Literal["classic", "default", "large"]
Tokenizer = Literal["char", "word"]
HoldoutPlace = Literal["tail", "spread"]
#: Seeds stay exact in every JSON reader, JavaScript's included.
SEED_LIMIT = 2**53
#: With a common alphabet the vocabulary then fills its bucket of 4,096 (`worker/ml/config.py`).
VOCABULARY_LIMIT = 4000
#: The most epochs after which a training writes sample texts: each time takes a tenth of a second.
MAX_EPOCH_SAMPLES = 50
MAX_BATCH_SIZE = 1024
#: The most held-out pieces of a corpus, and the least windows of one, as in worker/ml/holdout.py.
MAX_PIECES, MIN_PIECE_WINDOWS = 20, 4
CLASSIC_TEMPERATURES = (0.2, 0.5, 1.0, 1.2)
SMALLEST_WINDOW = 4
Temperature = Annotated[float, Field(ge=0, le=10)]


class Frozen(BaseModel):
    """An immutable model that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SampleSpec(Frozen):
    """Sample texts of a training: after every so many epochs, or steps, or both, and at its end."""

    length: int = Field(400, ge=1, le=10_000, description="tokens of each text")
    temperatures: list[Temperature] = Field(list(CLASSIC_TEMPERATURES), min_length=1, max_length=8)
    every_epochs: int | None = Field(
        1,
        ge=1,
        le=1000,
        description=f"epochs between texts; of more than {MAX_EPOCH_SAMPLES} such epochs only "
        "every second, third, … has texts; null, or omitted beside `every_steps`: no texts by "
        "epochs",
    )
    every_steps: int | None = Field(
        None, ge=1, le=1_000_000, description="steps between texts; null: no texts by steps"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_steps_alone(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("every_steps") is not None:
            return {"every_epochs": None} | given
        return given

    @model_validator(mode="after")
    def _at_some_time(self) -> Self:
        if self.every_epochs is None and self.every_steps is None:
            raise ValueError(
                "every_epochs and every_steps are both null, so no texts would be written: "
                "set one of them, or set sample itself to null"
            )
        return self

    def due(self, step: int, steps_per_epoch: int, steps: int) -> bool:
        """Whether texts are due after a step of a training that has `steps` in total."""
        epochs, within = divmod(step, steps_per_epoch)
        by_epochs = False
        if self.every_epochs and not within:
            # A short corpus has thousands of epochs: texts after each would outlast the training.
            times = steps // (steps_per_epoch * self.every_epochs)
            every = max(1, -(-times // MAX_EPOCH_SAMPLES))
            by_epochs = epochs % (every * self.every_epochs) == 0
        return by_epochs or bool(self.every_steps and not step % self.every_steps)


class Budget(Frozen):
    """A time limit for training, instead of `epochs`."""

    seconds: float = Field(
        ge=1,
        le=7 * 24 * 3600,
        allow_inf_nan=False,
        description="seconds of computation from the first step on, compilation included; the "
        "first seconds measure the speed, which sets the number of steps",
    )


class TrainNumbers(Frozen):
    """The numbers of a training, with their bounds.

    A token is a character. With the tokenizer `word` it is a word with the space before it, a run
    of punctuation or line ends, or a character of a word that is not in the vocabulary.
    """

    lowercase: bool = Field(description="lower-case the corpus first")
    tokenizer: Tokenizer = Field("char", description="the unit that the network reads and writes")
    vocabulary_limit: int = Field(
        VOCABULARY_LIMIT,
        ge=16,
        le=32_768,
        description="most words in the vocabulary, beside all characters: the most frequent words "
        "of the corpus; other words are spelled out (tokenizer: word)",
    )
    predict: Literal["last", "every"] = Field(
        description="predict only the token after a window, or the next token at every position"
    )
    window: int = Field(ge=SMALLEST_WINDOW, le=1024, description="tokens in one window")
    stride: int = Field(
        ge=1,
        le=1024,
        description="tokens between the starts of two windows; each window takes 4 bytes of memory "
        "(predict: last)",
    )
    embedding: int = Field(ge=0, le=1024, description="units of the embedding; 0: one-hot input")
    units: int = Field(ge=8, le=2048, description="units of each LSTM layer")
    layers: int = Field(ge=1, le=4, description="stacked LSTM layers")
    batch_size: int = Field(ge=1, le=MAX_BATCH_SIZE, description="windows per step")
    optimizer: Literal["rmsprop", "adam"]
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["constant", "cosine"]
    beta_2: float = Field(ge=0.5, lt=1, description="Adam's decay rate of squared gradients")
    clip_norm: float | None = Field(
        gt=0, le=1000, description="limit of the gradients' global norm; null: no clipping"
    )
    average_decay: float | None = Field(
        ge=0, lt=1, description="decay of the exponential average of the weights; null: no average"
    )
    dropout: float = Field(
        0.0, ge=0, le=0.9, description="share of each LSTM layer's outputs that a step drops"
    )
    epochs: int | None = Field(
        ge=1, le=10_000, description="passes over the corpus; `budget` replaces them"
    )
    held_out: float = Field(gt=0, le=0.5, description="share of the corpus held out for validation")
    holdout: HoldoutPlace = Field(
        "tail",
        description="where the held-out share lies: `tail` at the end of the corpus, or `spread` "
        "in pieces all over it, drawn by the seed, so that what judges the training is like the "
        "corpus. A corpus too short for two pieces of four windows keeps the tail",
    )
    validate_every: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="steps between validations within an epoch, in addition to the one at its end; "
        "null: every 20 million characters",
    )
    patience: int | None = Field(
        5,
        ge=1,
        le=10_000,
        description="consecutive validations without improvement after which training stops (with "
        "schedule cosine only those that are worse by a tenth count); null: never",
    )
    rollbacks: int = Field(
        3,
        ge=0,
        le=100,
        description="how often a diverging loss (not a number, or three times what it was) is "
        "rolled back to the best weights with half the learning rate; 0: never",
    )
    keep: int = Field(
        3,
        ge=1,
        le=1000,
        description="newest checkpoints that are kept; the best one and those of requested texts "
        "are always kept",
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


class TrainSpec(TrainNumbers):
    """A fully resolved training, stored in `jobs.spec` for kind `train`."""

    preset: PresetName
    seed: int = Field(ge=0, lt=SEED_LIMIT)
    budget: Budget | None = None
    sample: SampleSpec | None
    items: bool = Field(False, description="whether the corpus is a list of items")
    threads: int = Field(
        ge=1, description="threads of one operation; another count gives other bits"
    )
    shards: int = Field(
        ge=1, description="parts that a batch is split into; another count gives other bits"
    )

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.epochs is None) == (self.budget is None):
            raise ValueError("set either epochs or budget, and not both")
        return self

    @property
    def minimum_characters(self) -> int:
        """The length of the shortest corpus with a window for training and one for validation.

        In tokens; a text never has more tokens than characters.
        """
        return minimum_characters(self.window, self.held_out)


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


def minimum_characters(window: int, held_out: float) -> int:
    """Return the least N so that `held_out` · N and the rest each hold a window and a character.

    The held-out tail has ``floor(N · held_out)`` characters, as in worker/ml/holdout.py.
    """
    # worker/ml/config.py has a copy, because the pipeline imports nothing from here.
    needed = window + 1
    count = int(needed / min(held_out, 1 - held_out))
    while int(count * held_out) < needed or count - int(count * held_out) < needed:
        count += 1
    return count


def largest_window(characters: int, held_out: float) -> int:
    """Return the largest window for a text; below `SMALLEST_WINDOW` there is none."""
    tail = int(characters * held_out)
    return min(tail, characters - tail) - 1


def longest_piece(characters: int, window: int, held_out: float) -> int:
    """Return the length of the longest held-out piece with `holdout: spread`.

    Args:
        characters: The length of the corpus.
        window: The window that the pieces were drawn for.
        held_out: The share that is held out.
    """
    # worker/ml/holdout.py draws them.
    count = int(characters * held_out)
    return -(-count // max(1, min(MAX_PIECES, count // (MIN_PIECE_WINDOWS * window + 1))))
