"""What a training will take: memory, time, and the size of a checkpoint, before it is queued.

The memory is a sum of what the pipeline holds at its peak; `benchmarks/memory.py` holds it against
the peaks of real workers, which it is to exceed by a little. The time is multiply-adds over a
rate, or, where trainings of the same shape have run here before, characters over the speed that
these had.

With the tokenizer `word` nobody knows yet how many words there are and how long: as many are taken
as there can be, and each as long as a character. Both are upper bounds.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shared.specs.presets import TrainSpec

FLOAT_BYTES = 4
#: A worker with TensorFlow loaded and its compiler warm, 840 MB, and what compiling takes; to count
#: words takes less than that, and is over before.
PROCESS_BYTES = 1_050_000_000
#: Floats that a step keeps of each position, per unit of a layer: gates, cell, hidden state and
#: projected input, and as much again on the way back.
FLOATS_PER_UNIT = 20
#: Logits, their softmax and its gradient.
FLOATS_PER_LOGIT = 4
#: Multiply-adds that a processor's core is taken to do in a second in the CPU's step, learning.
CORE_RATE = 20e9
#: Forward, and twice as much back.
PASSES = 3
#: Until everything is compiled.
COMPILE_SECONDS = 10.0
#: Validation beside learning.
JUDGING_SHARE = 0.03
SLOTS = {"rmsprop": 1, "adam": 2}
#: Copies of its weights that a network which writes takes, with the first layer's looked up.
WRITING_COPIES = 4
#: In a longer corpus no copies are looked for: the index would take seconds to build and more than
#: 32 MB. It also bounds what all indexes of a worker hold together.
INDEXED_CHARACTERS = 8_000_000
#: Of the index, beside a character's id and the text itself.
INDEX_BYTES_PER_CHARACTER = 4
#: A word of the vocabulary has two characters and occurs twice.
LEAST_CHARACTERS_PER_WORD = 4
#: What makes two trainings as fast as each other, on processors of one kind.
SHAPE = (
    "tokenizer", "vocabulary_limit", "predict", "window", "embedding", "units", "layers",
    "batch_size", "optimizer", "threads", "shards",
)  # fmt: skip
#: In which order numbers are proposed to be lowered, and the least of each.
LOWERED = {"batch_size": 1, "units": 8, "window": 4, "layers": 1, "vocabulary_limit": 16}
LOWERED_FOR_TIME = {"epochs": 1, "units": 8, "layers": 1, "vocabulary_limit": 16}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will take.

    Attributes:
        memory_bytes: Peak of its worker's process.
        seconds: From its start to its end on an idle worker.
        checkpoint_bytes: Of one checkpoint.
        steps: Of the whole training, with a word at most; None where a budget decides.
        characters_per_second: The speed that `seconds` come from.
        measured: Whether trainings of the same shape had it.
    """

    memory_bytes: int
    seconds: float
    checkpoint_bytes: int
    steps: int | None
    characters_per_second: float
    measured: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Text:
    """What a training reads.

    Attributes:
        characters: Of the corpus.
        alphabet_size: Different characters that the model knows.
        words: That it knows already, from the checkpoint that it begins from; None where it
            chooses them.
    """

    characters: int
    alphabet_size: int
    words: int | None = None

    def vocabulary_size(self, spec: TrainSpec) -> int:
        """The most tokens that the model can have."""
        if spec.tokenizer == "char":
            return self.alphabet_size
        most = min(spec.vocabulary_limit, self.characters // LEAST_CHARACTERS_PER_WORD)
        return self.alphabet_size + (most if self.words is None else self.words)


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a training may take."""

    memory_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ResourceLimitExceeded:
    """Why a training can't be taken.

    Attributes:
        field: The number to lower.
        most: To what; None where lowering it alone does not help.
        words: What is needed and what there is.
    """

    field: str
    most: int | None
    words: str


def estimate(spec: TrainSpec, text: Text, speeds: Sequence[float] = ()) -> Estimate:
    """What a training will take.

    Args:
        spec: All its numbers.
        text: What it reads.
        speeds: Characters per second of earlier trainings of the same shape. The fastest counts:
            the others shared their machine, or were over before they were under way.
    """
    characters, vocabulary_size = text.characters, text.vocabulary_size(spec)
    learnt_from = characters - int(characters * spec.held_out)
    apart = spec.stride if spec.predict == "last" else spec.window
    windows = max(1, (learnt_from - spec.window - 1) // apart + 1)
    positions = windows * spec.window
    averages = spec.average_decay is not None
    weights = _weights(spec, vocabulary_size) * FLOAT_BYTES
    state = weights * (1 + SLOTS[spec.optimizer] + averages)
    speed = max(speeds) if speeds else _speed(spec, vocabulary_size)
    steps = None
    if spec.budget is not None:
        seconds = spec.budget.seconds
    else:
        epochs = spec.epochs or 1
        steps = -(-windows // spec.batch_size) * epochs
        seconds = COMPILE_SECONDS + positions * epochs / speed * (1 + JUDGING_SHARE)
    return Estimate(
        memory_bytes=int(
            PROCESS_BYTES
            # Before and after a step, then as arrays and as bytes to be stored.
            + 4 * state
            + (spec.shards + 1) * weights
            + _activations(spec, vocabulary_size)
            + characters * _id_bytes(vocabulary_size)
            + windows * FLOAT_BYTES
            + (0 if spec.sample is None else _writing(spec, text))
        ),
        seconds=seconds,
        checkpoint_bytes=int(state),
        steps=steps,
        characters_per_second=speed,
        measured=bool(speeds),
    )


def find_exceeded_limit(
    spec: TrainSpec,
    text: Text,
    bounds: ResourceLimits,
    speeds: Sequence[float] = (),
    fixed: Collection[str] = (),
) -> ResourceLimitExceeded | None:
    """Why a training does not fit its bounds, with the number to lower; None where it fits.

    Args:
        spec: All its numbers.
        text: What it reads.
        bounds: What there is.
        speeds: As for `estimate`.
        fixed: Numbers that can't be lowered.
    """
    found = estimate(spec, text, speeds)
    told = (
        f"this training needs about {_size(found.memory_bytes)} of memory and "
        f"{_duration(found.seconds)}"
    )
    if found.memory_bytes > bounds.memory_bytes:
        words = f"{told}, and a worker has {_size(bounds.memory_bytes)} for it"
        tried = LOWERED

        def fits(changed: TrainSpec) -> bool:
            return estimate(changed, text).memory_bytes <= bounds.memory_bytes
    elif found.seconds > bounds.seconds:
        words = f"{told}, and {_duration(bounds.seconds)} is the most that is taken"
        tried = LOWERED_FOR_TIME

        def fits(changed: TrainSpec) -> bool:
            # Another network has another speed, which nobody has measured.
            known = speeds if same_shape(changed.model_dump(), spec.model_dump()) else ()
            return estimate(changed, text, known).seconds <= bounds.seconds
    else:
        return None
    if spec.budget is not None and tried is LOWERED_FOR_TIME:
        return ResourceLimitExceeded("budget", int(bounds.seconds), words)
    proposals = {
        name: _most(spec, name, least, fits) for name, least in tried.items() if name not in fixed
    }
    # The one that has to give way least.
    helping = {name: most / getattr(spec, name) for name, most in proposals.items() if most}
    if not helping:
        return ResourceLimitExceeded("units" if tried is LOWERED else "corpus", None, words)
    field = max(helping, key=lambda name: helping[name])
    return ResourceLimitExceeded(field, proposals[field], words)


def same_shape(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two stored specs are equally fast."""
    return all(one.get(name) == other.get(name) for name in SHAPE)


def _most(spec: TrainSpec, name: str, least: int, fits: Callable[[TrainSpec], bool]) -> int | None:
    """The greatest value below the spec's own that fits; None where not even the least does."""
    high = getattr(spec, name)
    if high is None or not fits(spec.model_copy(update={name: least})):
        return None
    low = least
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if fits(spec.model_copy(update={name: middle})) else (low, middle)
        )
    return int(low)


def _weights(spec: TrainSpec, vocabulary_size: int) -> int:
    units, inputs = spec.units, spec.embedding or vocabulary_size
    count = vocabulary_size * spec.embedding + (units + 1) * vocabulary_size
    for _ in range(spec.layers):
        count += 4 * units * (inputs + units + 1)
        inputs = units
    return count


def _activations(spec: TrainSpec, vocabulary_size: int) -> int:
    positions = spec.batch_size * spec.window
    judged = spec.batch_size if spec.predict == "last" else positions
    floats = positions * spec.layers * spec.units * FLOATS_PER_UNIT
    return (floats + judged * vocabulary_size * FLOATS_PER_LOGIT) * FLOAT_BYTES


def _writing(spec: TrainSpec, text: Text) -> int:
    """Bytes for texts while the network learns: its weights, and where copies are looked for."""
    vocabulary_size = text.vocabulary_size(spec)
    looked_up = _weights(spec.model_copy(update={"embedding": 0}), vocabulary_size)
    index = 0
    if text.characters <= INDEXED_CHARACTERS:
        each = INDEX_BYTES_PER_CHARACTER + 2 * _id_bytes(text.alphabet_size)
        index = text.characters * each
    return WRITING_COPIES * looked_up * FLOAT_BYTES + index


def _speed(spec: TrainSpec, vocabulary_size: int) -> float:
    """Characters per second of a CPU's step: the first layer looks its input up."""
    units = spec.units
    recurrent = 4 * units * units * (2 * spec.layers - 1)
    head = units * vocabulary_size / (spec.window if spec.predict == "last" else 1)
    return CORE_RATE * spec.threads / (PASSES * (recurrent + head))


def _id_bytes(vocabulary_size: int) -> int:
    return 1 if vocabulary_size <= 2**8 else 2 if vocabulary_size <= 2**16 else 4


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
