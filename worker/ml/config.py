"""Configuration of a network and of its training, and the names and shapes of its weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

#: The tokens before and after each item of a list: noncharacters, which no text holds.
#: shared/texts/items.py writes them into the corpus; the pipeline imports nothing from there.
ITEM_BEGIN, ITEM_END = "\ufdd0", "\ufdd1"
#: The smallest run-time vocabulary. Every plain alphabet fits, so they share a compiled graph.
SMALLEST_BUCKET = 64
#: Buckets are multiples of at least this: the floats in one 512-bit register.
SMALLEST_STEP = 16


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The dimensions of a network: tokens in, logits out.

    Attributes:
        vocabulary_size: Number of tokens, V, without padding.
        embedding: Units of the embedding, E; 0 feeds one-hot tokens to the first layer.
        units: Units of each LSTM layer, U.
        layers: Number of LSTM layers.
        window: Tokens that `classic` sees before each prediction, from a zero state; None for a
            network that carries its state from token to token.
        tied_embedding: Whether the output layer multiplies with the embedding, behind a projection
            to its units, in place of a kernel [U, V] of its own.

    Raises:
        ValueError: A dimension is out of range, or there is no embedding to tie.
    """

    vocabulary_size: int
    embedding: int
    units: int
    layers: int
    window: int | None
    tied_embedding: bool = False

    def __post_init__(self) -> None:
        if self.tied_embedding and not self.embedding:
            raise ValueError("tied_embedding needs an embedding; embedding is 0")
        for name, least in (("vocabulary_size", 1), ("embedding", 0), ("units", 1), ("layers", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; it must be a whole number from {least}")
        if self.window is not None and (type(self.window) is not int or self.window < 1):
            raise ValueError(
                f"window is {self.window!r}; it must be a whole number from 1, or None"
            )

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in a fixed order; V is not padded."""
        return self._shapes(self.vocabulary_size)

    def padded_shapes(self) -> dict[str, tuple[int, ...]]:
        """`weight_shapes` at run time, with V padded to its bucket."""
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
        if self.tied_embedding:
            shapes["projection.kernel"] = (self.units, self.embedding)
            shapes["projection.bias"] = (self.embedding,)
        else:
            shapes["head.kernel"] = (self.units, vocabulary)
        shapes["head.bias"] = (vocabulary,)
        return shapes

    def as_dict(self) -> dict[str, Any]:
        """The dimensions as JSON values, as earlier releases wrote them if nothing is tied."""
        values = asdict(self)
        if not self.tied_embedding:
            del values["tied_embedding"]
        return values


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The config of a training; equal configs on equal ids give equal weights.

    Attributes:
        network: The network to train.
        predict: "last": only the token after a window; "every": the one after each position.
        window: Tokens in a window, T.
        stride: Tokens between the starts of two windows; used if `predict` is "last".
        batch_size: Windows in a step, B.
        optimizer: "rmsprop" with Keras' defaults (rho 0.9, epsilon 1e-7), or "adam".
        learning_rate: The rate, or the peak of the schedule.
        schedule: "constant", or "cosine" over all steps with a short warm-up.
        beta_2: Adam's decay rate of squared gradients.
        clip_norm: Limit of the gradients' global norm; None for no limit.
        average_decay: Decay of the exponential average of the weights; None keeps no average.
        dropout: Share of each layer's outputs that a step drops; 0 drops nothing.
        epochs: Passes over the windows, possibly a fraction; None if `seconds` is given.
        held_out: Share of the text that is held out for validation.
        seed: Decides the initial weights and the order of the windows.
        shards: Parts of a batch that are computed in parallel; another number gives other bits.
        threads: Threads of one operation; another number gives other bits.
        seconds: Time budget; its first part measures the speed, which fixes the steps.
        validate_every: Steps between validations within an epoch; None for the default interval.
        patience: Validations without improvement after which training stops; None never stops.
        rollbacks: How often an exploding loss is undone, at half the rate. With 0, only a loss
            that is NaN or infinite ends the training.
        items: Whether the text is a list of items, between `ITEM_BEGIN` and `ITEM_END`.
        holdout: Where the held-out share lies: "tail" at the end, "spread" in pieces all over.

    Raises:
        ValueError: Not exactly one of `epochs` and `seconds` is given.
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
    holdout: Literal["tail", "spread"] = "tail"
    items: bool = False

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.seconds is None):
            raise ValueError(
                f"epochs is {self.epochs} and seconds is {self.seconds}: give exactly one of them"
            )

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], vocabulary_size: int) -> "TrainConfig":
        """The config of a stored job; `spec` has its fields by name, and may have more."""
        network = NetworkConfig(
            vocabulary_size=vocabulary_size,
            embedding=spec["embedding"],
            units=spec["units"],
            layers=spec["layers"],
            window=spec["window"] if spec["predict"] == "last" else None,
            tied_embedding=spec.get("tied_embedding", False),
        )
        # A job queued before dropout existed trains without it.
        numbers = {"dropout": 0.0, **spec}
        names = [field.name for field in fields(cls) if field.name in numbers]
        seconds = (spec.get("budget") or {}).get("seconds")
        return cls(network=network, seconds=seconds, **{name: numbers[name] for name in names})

    def as_dict(self) -> dict[str, Any]:
        """The config as JSON values, with the network nested."""
        return asdict(self) | {"network": self.network.as_dict()}


def padded_vocabulary(size: int) -> int:
    """The padded size of a vocabulary of `size` tokens: its bucket.

    Corpora whose vocabularies fall into one bucket share a compiled graph. Buckets lie an eighth
    of an octave apart, so at most 12.5 % is padding (above 128; fewer than 16 tokens below it).
    """
    if size <= SMALLEST_BUCKET:
        return SMALLEST_BUCKET
    step = max(SMALLEST_STEP, 1 << ((size - 1).bit_length() - 4))
    return -(-size // step) * step


def held_out_characters(characters: int, share: float) -> int:
    """Characters of a text that are held out for validation."""
    return int(characters * share)


def minimum_characters(config: TrainConfig) -> int:
    """The shortest text with one window to train on and one to validate on."""
    # shared/specs/windows.py repeats this, because the pipeline imports nothing from shared.
    needed = config.window + 1
    count = int(needed / min(config.held_out, 1 - config.held_out))
    while True:
        tail = held_out_characters(count, config.held_out)
        if tail >= needed and count - tail >= needed:
            return count
        count += 1
