"""Estimates of what a training takes: memory, time and checkpoint size, before it is queued.

The memory is the sum of what the pipeline holds at its peak; `benchmarks/memory.py` compares it
with the peaks of real workers, which it should exceed slightly. The time is multiply-adds over a
rate, or, if trainings of the same shape have run here before, characters over their speed.

With the tokenizer `word` the number of words and their length are not known yet. The estimate
assumes as many words as the text can have, each as long as a character: both are upper bounds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shared.specs.training import TrainSpec

FLOAT_BYTES = 4
#: A worker with TensorFlow loaded and its compiler warm (840 MB), plus a compilation. Counting
#: words takes less, and ends before.
PROCESS_BYTES = 1_050_000_000
#: Floats per position and unit that a step keeps: gates, cell, hidden state and projected input,
#: and as many again for back-propagation.
FLOATS_PER_UNIT = 20
#: Logits, their softmax and its gradient.
FLOATS_PER_LOGIT = 4
#: Assumed multiply-adds per second and core of the CPU step, in training.
CORE_RATE = 20e9
#: The same of a GPU, until trainings have shown its card's own speed: a fifth of what an H200
#: reached with the preset `large`, as for a smaller or older card.
GPU_RATE = 2e13
#: What each position of a layer takes on a GPU, forth and back, however small its products: they
#: follow each other. On an H200 it was 50 to 60 µs with each preset (docs/gpu.md).
GPU_POSITION_SECONDS = 55e-6
#: What CUDA, cuDNN and XLA's programs take of a GPU's memory, beside a training's arrays, and
#: cuDNN's workspace as a share of the activations. Assumed: only the context has been measured.
GPU_CONTEXT_BYTES = 900_000_000
GPU_WORKSPACE_SHARE = 0.25
#: One forward pass; back-propagation costs twice as much.
PASSES = 3
#: The time until all graphs are compiled.
COMPILE_SECONDS = 10.0
#: Time for validation, relative to training.
VALIDATION_SHARE = 0.03
#: The optimizers' arrays per weight.
SLOTS = {"rmsprop": 1, "adam": 2}
#: Copies of the weights that a generating network holds, with the first layer as a look-up table.
SAMPLING_COPIES = 4
#: The longest corpus that is indexed for copies: a longer index would take seconds to build and
#: more than 40 MB. It also limits what all indexes of a worker hold together.
INDEXED_CHARACTERS = 8_000_000
#: The size of the index, beside the character ids and the text.
INDEX_BYTES_PER_CHARACTER = 5
#: A word of the vocabulary has at least two characters and occurs at least twice.
MIN_CHARACTERS_PER_WORD = 4
#: The numbers that decide the speed of a training, on processors of one kind. On a GPU the last two
#: play no part.
SHAPE = (
    "tokenizer", "vocabulary_limit", "predict", "window", "embedding", "tied_embedding", "units",
    "layers", "batch_size", "optimizer", "threads", "shards",
)  # fmt: skip
OF_CPU = ("threads", "shards")
Processor = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training is expected to take.

    Attributes:
        memory_bytes: The peak memory of its worker's process.
        seconds: The time from start to end on an idle worker.
        checkpoint_bytes: The size of one checkpoint.
        steps: The number of steps, an upper bound for words; None if a budget decides.
        characters_per_second: The speed that `seconds` is computed from.
        measured: Whether the speed was measured on trainings of the same shape.
        gpu_memory_bytes: The peak memory on a GPU; None for a training on a CPU.
    """

    memory_bytes: int
    seconds: float
    checkpoint_bytes: int
    steps: int | None
    characters_per_second: float
    measured: bool
    gpu_memory_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CorpusSize:
    """The size of a training's corpus and vocabulary.

    Attributes:
        characters: The characters of the corpus.
        alphabet_size: The distinct characters that the model knows.
        words: The words that it knows from the checkpoint it starts from; None if it chooses its
            words.
    """

    characters: int
    alphabet_size: int
    words: int | None = None

    def vocabulary_size(self, spec: TrainSpec) -> int:
        """Return the largest vocabulary that the model can have."""
        if spec.tokenizer == "char":
            return self.alphabet_size
        max_words = min(spec.vocabulary_limit, self.characters // MIN_CHARACTERS_PER_WORD)
        return self.alphabet_size + (max_words if self.words is None else self.words)


def estimate(
    spec: TrainSpec,
    corpus: CorpusSize,
    speeds: Sequence[float] = (),
    processor: Processor = "cpu",
) -> Estimate:
    """Estimate what a training takes.

    Args:
        spec: The training.
        corpus: The size of its corpus.
        speeds: Characters per second of earlier trainings of the same shape. The fastest counts:
            the others shared their machine, or ended before they reached full speed.
        processor: What it runs on. On a GPU a batch is not split, and the arrays of a step are in
            the GPU's memory.
    """
    on_gpu = processor == "gpu"
    if on_gpu:
        spec = spec.model_copy(update={"shards": 1})
    characters, vocabulary_size = corpus.characters, corpus.vocabulary_size(spec)
    training_characters = characters - int(characters * spec.held_out)
    stride = spec.stride if spec.predict == "last" else spec.window
    windows = max(1, (training_characters - spec.window - 1) // stride + 1)
    positions = windows * spec.window
    keeps_average = spec.average_decay is not None
    weights = _weights(spec, vocabulary_size) * FLOAT_BYTES
    state = weights * (1 + SLOTS[spec.optimizer] + keeps_average)
    speed = max(speeds) if speeds else assumed_speed(spec, vocabulary_size, processor)
    activations = _activations(spec, vocabulary_size)
    # The arrays before and after a step, and the gradients.
    of_step = 2 * state + (spec.shards + 1) * weights + activations
    steps = None
    if spec.budget is not None:
        seconds = spec.budget.seconds
    else:
        epochs = spec.epochs or 1
        steps = -(-windows // spec.batch_size) * epochs
        seconds = COMPILE_SECONDS + positions * epochs / speed * (1 + VALIDATION_SHARE)
    return Estimate(
        memory_bytes=int(
            PROCESS_BYTES
            # As arrays, and as bytes to be stored.
            + 2 * state
            + (0 if on_gpu else of_step)
            + characters * _id_bytes(vocabulary_size)
            + windows * FLOAT_BYTES
            + (0 if spec.sample is None else _sampling(spec, corpus))
        ),
        seconds=seconds,
        checkpoint_bytes=int(state),
        steps=steps,
        characters_per_second=speed,
        measured=bool(speeds),
        gpu_memory_bytes=(
            int(GPU_CONTEXT_BYTES + of_step + GPU_WORKSPACE_SHARE * activations) if on_gpu else None
        ),
    )


def assumed_speed(spec: TrainSpec, vocabulary_size: int, processor: Processor = "cpu") -> float:
    """Estimate the characters per second of a step whose first layer is a look-up.

    A small network on a GPU is bound by the number of its positions, which wait for each other: a
    larger batch costs nothing. On a CPU, and for large networks, the products decide.

    Args:
        spec: The training.
        vocabulary_size: The tokens of its model.
        processor: What it runs on.
    """
    units = spec.units
    recurrent = 4 * units * units * (2 * spec.layers - 1)
    head = float(units * vocabulary_size)
    if spec.tied_embedding:
        head = spec.embedding * (units + vocabulary_size)
    if spec.predict == "last":
        head /= spec.window
    products = PASSES * (recurrent + head)
    if processor == "cpu":
        return CORE_RATE * spec.threads / products
    return 1 / (products / GPU_RATE + GPU_POSITION_SECONDS * spec.layers / spec.batch_size)


def same_shape(left: dict[str, Any], right: dict[str, Any], processor: Processor = "cpu") -> bool:
    """Whether two stored specs have the same speed."""
    names = SHAPE if processor == "cpu" else SHAPE[: -len(OF_CPU)]
    # Specs of earlier releases lack some numbers, which were 0 or false then.
    return all((left.get(name) or 0) == (right.get(name) or 0) for name in names)


def _weights(spec: TrainSpec, vocabulary_size: int) -> int:
    units, inputs = spec.units, spec.embedding or vocabulary_size
    count = vocabulary_size * (spec.embedding + 1)
    if spec.tied_embedding:
        count += (units + 1) * spec.embedding
    else:
        count += units * vocabulary_size
    for _ in range(spec.layers):
        count += 4 * units * (inputs + units + 1)
        inputs = units
    return count


def _activations(spec: TrainSpec, vocabulary_size: int) -> int:
    positions = spec.batch_size * spec.window
    outputs = spec.batch_size if spec.predict == "last" else positions
    floats = positions * spec.layers * spec.units * FLOATS_PER_UNIT
    return (floats + outputs * vocabulary_size * FLOATS_PER_LOGIT) * FLOAT_BYTES


def _sampling(spec: TrainSpec, corpus: CorpusSize) -> int:
    """Estimate the bytes for sample texts: copies of the weights, and the index for copied text."""
    vocabulary_size = corpus.vocabulary_size(spec)
    # The sampler folds the embedding into the first layer, and a projection into the last.
    folded = spec.model_copy(update={"embedding": 0, "tied_embedding": False})
    weights = _weights(folded, vocabulary_size)
    index = 0
    if corpus.characters <= INDEXED_CHARACTERS:
        bytes_per_character = INDEX_BYTES_PER_CHARACTER + 2 * _id_bytes(corpus.alphabet_size)
        index = corpus.characters * bytes_per_character
    return SAMPLING_COPIES * weights * FLOAT_BYTES + index


def _id_bytes(vocabulary_size: int) -> int:
    return 1 if vocabulary_size <= 2**8 else 2 if vocabulary_size <= 2**16 else 4
