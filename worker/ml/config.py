"""What a network is and how it is trained, as plain numbers; its weights' names and shapes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

#: The smallest run-time vocabulary: every plain alphabet fits, so they share one compiled graph.
SMALLEST_BUCKET = 64
#: Buckets are multiples of this at least: the floats in one 512-bit register.
SMALLEST_STEP = 16


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network: characters in, logits out.

    Attributes:
        vocabulary_size: Different characters, V; the true number, without padding.
        embedding: Units of the embedding, E; 0 feeds one-hot characters to the first layer.
        units: Units of each LSTM layer, U.
        layers: LSTM layers, one above the other.
        window: Characters that `classic` sees before each prediction, from a zero state;
            None for a network that carries its state from character to character.
    """

    vocabulary_size: int
    embedding: int
    units: int
    layers: int
    window: int | None

    def __post_init__(self) -> None:
        for name, least in (("vocabulary_size", 1), ("embedding", 0), ("units", 1), ("layers", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; needed is a whole number from {least}")
        if self.window is not None and (type(self.window) is not int or self.window < 1):
            raise ValueError(f"window is {self.window!r}; needed is a whole number from 1, or None")

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in their fixed order; V is not padded."""
        return self._shapes(self.vocabulary_size)

    def padded_shapes(self) -> dict[str, tuple[int, ...]]:
        """The same as `weight_shapes` at run time, with V padded to its bucket."""
        return self._shapes(padded_vocabulary(self.vocabulary_size))

    def _shapes(self, vocabulary: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding:
            shapes["embedding"] = (vocabulary, self.embedding)
        inputs = self.embedding or vocabulary
        for layer in range(self.layers):
            shapes[f"lstm.{layer}.kernel"] = (inputs, 4 * self.units)
            shapes[f"lstm.{layer}.recurrent_kernel"] = (self.units, 4 * self.units)
            shapes[f"lstm.{layer}.bias"] = (4 * self.units,)
            inputs = self.units
        shapes["head.kernel"] = (self.units, vocabulary)
        shapes["head.bias"] = (vocabulary,)
        return shapes


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training with everything decided; two equal configs on equal ids give equal weights.

    Attributes:
        network: The network to train.
        predict: "last": only the character after a window; "every": the one after each position.
        window: Characters in one window, T.
        stride: Characters between the starts of two windows; used when `predict` is "last".
        batch_size: Windows in one step, B.
        optimizer: "rmsprop" with Keras' own numbers (rho 0.9, epsilon 1e-7) or "adam".
        learning_rate: The rate, or the peak of the schedule.
        schedule: "constant", or "cosine" over all steps with a short warm-up.
        beta_2: Adam's memory of squared gradients.
        clip_norm: Bound of the gradients' global norm; None for no bound.
        average_decay: Memory of the exponential average of the weights; None keeps no average.
        dropout: Share of each layer's outputs that a step leaves out; 0 leaves out nothing.
        epochs: Passes over the windows; one that ends inside a pass is a fraction. None where
            `seconds` decide.
        held_out: Share of the text, at its end, that is kept for validation.
        seed: Decides the initial weights and the order of the windows.
        shards: Pieces a batch is cut into and computed side by side; another count, other bits.
        threads: Threads of one operation; another count, other bits.
        seconds: How long to train; the first of them measure the speed and fix the steps.
        validate_every: Steps between validations within an epoch; None for a rhythm of its own.
        patience: Validations without a better one after which training ends; None for no bound.
        rollbacks: How often a loss that explodes is undone, at half the rate; with 0 only one
            that is no number ends a training.
    """

    network: NetworkConfig
    predict: Literal["last", "every"]
    window: int
    stride: int
    batch_size: int
    optimizer: Literal["rmsprop", "adam"]
    learning_rate: float
    schedule: Literal["constant", "cosine"]
    beta_2: float
    clip_norm: float | None
    average_decay: float | None
    dropout: float
    epochs: float | None
    held_out: float
    seed: int
    shards: int
    threads: int
    seconds: float | None = None
    validate_every: int | None = None
    patience: int | None = None
    rollbacks: int = 3

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.seconds is None):
            raise ValueError(
                f"epochs is {self.epochs} and seconds is {self.seconds}: one of them is needed"
            )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], vocabulary_size: int) -> "TrainConfig":
        """The config of a stored job: `spec` holds the fields by name, and may hold more."""
        network = NetworkConfig(
            vocabulary_size=vocabulary_size,
            embedding=spec["embedding"],
            units=spec["units"],
            layers=spec["layers"],
            window=spec["window"] if spec["predict"] == "last" else None,
        )
        # A job that was queued before there was dropout trains as it was asked to.
        numbers = {"dropout": 0.0, **spec}
        names = [field.name for field in fields(cls) if field.name in numbers]
        seconds = (spec.get("budget") or {}).get("seconds")
        return cls(network=network, seconds=seconds, **{name: numbers[name] for name in names})

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; the network's numbers are nested."""
        return asdict(self)


def padded_vocabulary(size: int) -> int:
    """The bucket that a vocabulary of `size` characters runs in.

    Corpora with vocabularies of one bucket share a compiled graph. Buckets lie an eighth of
    an octave apart, so that at most 12.5 % is padding (above 128; below it, fewer than 16).
    """
    if size <= SMALLEST_BUCKET:
        return SMALLEST_BUCKET
    step = max(SMALLEST_STEP, 1 << ((size - 1).bit_length() - 4))
    return -(-size // step) * step


def held_out_characters(characters: int, share: float) -> int:
    """Characters at a text's end that are kept for validation."""
    return int(characters * share)


def minimum_characters(config: TrainConfig) -> int:
    """The shortest text that leaves a window to learn from and one to be judged by."""
    # As shared/specs/presets.py has it once more: the pipeline imports nothing from there.
    needed = config.window + 1
    count = int(needed / min(config.held_out, 1 - config.held_out))
    while True:
        tail = held_out_characters(count, config.held_out)
        if tail >= needed and count - tail >= needed:
            return count
        count += 1
