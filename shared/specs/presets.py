"""What a training can be asked for: presets, their numbers, and each number's bounds.

A resolved `TrainSpec` is stored with the job, so that any worker runs the same
training. `classic` is the well-known character recipe to the letter; `default`
predicts at every position and learns faster; `large` is meant for a GPU.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PresetName = Literal["classic", "default", "large"]
Tokenizer = Literal["char", "word"]
#: Seeds stay exact in every JSON reader, JavaScript's included.
SEED_LIMIT = 2**53
#: With a usual alphabet the vocabulary then fills its bucket of 4,096 (`worker/ml/config.py`).
VOCABULARY_LIMIT = 4000
#: Times at which a training writes texts by epochs, at most: each takes a tenth of a second.
MAX_EPOCH_SAMPLES = 50
CLASSIC_TEMPERATURES = (0.2, 0.5, 1.0, 1.2)
Temperature = Annotated[float, Field(ge=0, le=10)]


class Frozen(BaseModel):
    """Refuses fields it does not know, and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SampleSpec(Frozen):
    """Texts written while a network learns: after every so many epochs, or steps, or both.

    And at its end in any case.
    """

    length: int = Field(400, ge=1, le=10_000, description="tokens of each text")
    temperatures: list[Temperature] = Field(list(CLASSIC_TEMPERATURES), min_length=1, max_length=8)
    every_epochs: int | None = Field(
        1,
        ge=1,
        le=1000,
        description=f"of more than {MAX_EPOCH_SAMPLES} such epochs only every second has texts, or "
        "third, and so on; null, or not given beside `every_steps`: not by epochs",
    )
    every_steps: int | None = Field(None, ge=1, le=1_000_000)

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
                "every_epochs and every_steps are both null, so no text would ever be written: "
                "give one of them, or let sample itself be null"
            )
        return self

    def due(self, step: int, steps_per_epoch: int, steps: int) -> bool:
        """Whether texts are to be written after a step; of a training of so many `steps`."""
        epochs, within = divmod(step, steps_per_epoch)
        by_epochs = False
        if self.every_epochs and not within:
            # A short text has thousands of epochs, and writing after each would take longer.
            times = steps // (steps_per_epoch * self.every_epochs)
            every = max(1, -(-times // MAX_EPOCH_SAMPLES))
            by_epochs = epochs % (every * self.every_epochs) == 0
        return by_epochs or bool(self.every_steps and not step % self.every_steps)


class Budget(Frozen):
    """How long to train, instead of `epochs`."""

    seconds: float = Field(
        ge=1,
        le=7 * 24 * 3600,
        allow_inf_nan=False,
        description="of computing, from the first step on and with all compilation; the first of "
        "them measure the speed and fix the number of steps",
    )


class TrainNumbers(Frozen):
    """Every number of a training, with its bounds.

    A token is a character, or with the tokenizer `word` a word with the space before it, a run of
    punctuation or of line ends, or a character of a word that is not in the vocabulary.
    """

    lowercase: bool = Field(description="lower-case the text first")
    tokenizer: Tokenizer = Field(
        "char", description="what a network reads and writes one after the other"
    )
    vocabulary_limit: int = Field(
        VOCABULARY_LIMIT,
        ge=16,
        le=32_768,
        description="words in the vocabulary beside all characters, the commonest of the corpus; "
        "others are spelled (tokenizer: word)",
    )
    predict: Literal["last", "every"] = Field(
        description="the token after a window only, or the one after every position"
    )
    window: int = Field(ge=4, le=1024, description="tokens in one window")
    stride: int = Field(
        ge=1,
        le=1024,
        description="tokens between the starts of two windows, each of which takes 4 bytes of "
        "memory (predict: last)",
    )
    embedding: int = Field(
        ge=0, le=1024, description="units of the embedding; 0 gives the network one-hot tokens"
    )
    units: int = Field(ge=8, le=2048, description="units of each LSTM layer")
    layers: int = Field(ge=1, le=4, description="LSTM layers, one above the other")
    batch_size: int = Field(ge=1, le=1024, description="windows in one step")
    optimizer: Literal["rmsprop", "adam"]
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["constant", "cosine"]
    beta_2: float = Field(ge=0.5, lt=1, description="Adam's memory of squared gradients")
    clip_norm: float | None = Field(
        gt=0, le=1000, description="bound of the gradients' global norm"
    )
    average_decay: float | None = Field(
        ge=0, lt=1, description="exponential average of the weights; null keeps none"
    )
    dropout: float = Field(
        0.0, ge=0, le=0.9, description="share of each LSTM layer's outputs left out of a step"
    )
    epochs: int | None = Field(
        ge=1, le=10_000, description="passes over the text; a `budget` takes their place"
    )
    held_out: float = Field(gt=0, le=0.5, description="share of the text's end kept for validation")
    validate_every: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="steps between two validations within an epoch, whose end has one in any case; "
        "null: after every 20 million characters",
    )
    patience: int | None = Field(
        5,
        ge=1,
        le=10_000,
        description="validations in a row without a better one after which training stops (with "
        "schedule cosine only those that are worse by a tenth count); null: never",
    )
    rollbacks: int = Field(
        3,
        ge=0,
        le=100,
        description="how often a loss that explodes (no number, or three times what it was) is "
        "undone: back to the best weights with half the rate; 0 lets it explode",
    )
    keep: int = Field(
        3,
        ge=1,
        le=1000,
        description="of the newest checkpoints how many stay; the best stays in any case, and any "
        "that a text you asked for comes from",
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
    ),
    "large": TrainNumbers(
        lowercase=False,
        predict="every",
        window=128,
        stride=128,
        embedding=128,
        units=512,
        layers=2,
        batch_size=64,
        optimizer="adam",
        learning_rate=2e-3,
        schedule="cosine",
        beta_2=0.99,
        clip_norm=1.0,
        average_decay=0.998,
        dropout=0.0,
        epochs=20,
        held_out=0.05,
    ),
}


class TrainSpec(TrainNumbers):
    """A training with everything decided: what `jobs.spec` holds for kind `train`."""

    preset: PresetName
    seed: int = Field(ge=0, lt=SEED_LIMIT)
    budget: Budget | None = None
    sample: SampleSpec | None
    threads: int = Field(ge=1, description="threads of one operation; another count, other bits")
    shards: int = Field(ge=1, description="pieces a batch is cut into; another count, other bits")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.epochs is None) == (self.budget is None):
            raise ValueError("a training needs either epochs or a budget, and not both")
        return self

    @property
    def minimum_characters(self) -> int:
        """The shortest text that leaves a window to learn from and one to be judged by.

        In tokens; a text never has more of them than characters.
        """
        return minimum_characters(self.window, self.held_out)


def resolve_train(
    preset: PresetName, changes: dict[str, Any], *, seed: int, threads: int, shards: int
) -> TrainSpec:
    """A preset's numbers with somebody's changes, checked again as a whole.

    Args:
        preset: The preset that gives what `changes` does not.
        changes: Fields of `TrainNumbers`, `sample` (a dict, or None for no texts; else there are
            some after every epoch), and `budget` (a dict), which takes the place of the preset's
            `epochs`.
        seed: Decides initial weights, the order of the windows and the texts.
        threads: Threads of one operation on the worker.
        shards: Pieces that a batch is cut into; never more than its windows.
    """
    numbers = PRESETS[preset].model_dump() | changes
    numbers.setdefault("sample", SampleSpec())
    if numbers.get("budget") is not None and "epochs" not in changes:
        numbers["epochs"] = None
    shards = max(1, min(shards, int(numbers["batch_size"])))
    return TrainSpec(preset=preset, seed=seed, threads=threads, shards=shards, **numbers)


def minimum_characters(window: int, held_out: float) -> int:
    """The least N for which both `held_out` · N and the rest hold a window and its next character.

    The tail has ``floor(N · held_out)`` characters, as worker/ml/vectorize.py cuts it.
    """
    # As worker/ml/config.py has it once more: the pipeline imports nothing from here.
    needed = window + 1
    count = int(needed / min(held_out, 1 - held_out))
    while int(count * held_out) < needed or count - int(count * held_out) < needed:
        count += 1
    return count
