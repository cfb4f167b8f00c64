"""What a training may say: its numbers with their bounds, its budget and its sample texts.

A resolved `TrainSpec` is stored with the job, so that every worker runs the same training.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.specs.windows import minimum_characters

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
#: From this many characters on, the output layer takes most of a step unless it is tied.
LARGE_ALPHABET = 1000
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
    tied_embedding: bool = Field(
        False,
        description="whether the output layer multiplies with the embedding, behind a projection "
        "to its units, in place of weights of its own. Left out, the presets default and large tie "
        f"it for an alphabet of {LARGE_ALPHABET:,} characters or more",
    )
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
        "corpus. A corpus too short for two pieces of four windows (of one, if it is a list of "
        "short lines) keeps the tail",
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
