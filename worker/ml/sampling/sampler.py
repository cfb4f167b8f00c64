"""Write texts with a trained network: what is asked for, and one batch's way through the loop."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.config import NetworkConfig, padded_vocabulary
from worker.ml.sampling.batch import advance
from worker.ml.sampling.rng import SEEDS
from worker.ml.sampling.sequence import IdArray, Stream
from worker.ml.sampling.step import FloatArray, StepShape, fold

#: Rows of a batch on a CPU. XLA's products add up in one order for 2 to 32 rows, in another for
#: one row and in a third for more, so that within these a row's bits know nothing of its batch
#: (`tests/unit/ml/test_exact_bits.py` holds it). A batch is filled up to the next of them.
EXACT_BUCKETS = (2, 8, 16, 32)
#: Where the bits of a row may depend on its batch: on a GPU, which wants many rows.
BUCKETS = (1, 8, 32, 128, 512)
#: Checkpoints that share a step on a CPU: as many as have their weights near the core. Each has as
#: few rows as give a row the bits that it has in any other batch.
STACK = 4
STACKED_ROWS = 2
#: A step of larger networks is their products, which gain nothing from a stack.
MOST_STACKED_BYTES = 2**19
#: The same checkpoints often share one step after the other. At most 32 MiB, and as much again of
#: samplers that would otherwise be gone; `QUIRE_LOADED_BYTES` counts neither.
KEPT_STACKS = 16
#: A network with a window fills a product with its windows in flight: one text at a time.
WINDOW_BUCKETS = (1,)

_serials = count()


class NotFinite(ValueError):
    """The weights hold a NaN or an infinity; nothing can be written with them."""


@dataclass(frozen=True, eq=False)
class SamplingRequest:
    """One text to write.

    Attributes:
        prompt: Ids of at least one character to go on from. A network with a window sees the
            last `window` of them, one that carries its state sees all.
        length: Characters to write; with 0 the prompt is only read, and its probability told.
        temperature: Divides the logits; 0 always takes the likeliest character.
        top_k: Draw only from this many likeliest characters; None from all.
        top_p: Draw only from the fewest likeliest characters that together have at least this
            probability, after `top_k`; None from all.
        seed: Decides every draw, together with the draw's position in the text.
        temperature_to: The temperature of the last character, from `temperature` at the first in
            equal steps; None keeps it.
        repetition_penalty: Divides the probability of what is among the last `REPETITION_WINDOW`
            characters, prompt included, before the temperature; 1 changes nothing.
    """

    prompt: npt.NDArray[np.integer]
    length: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    temperature_to: float | None = None
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        last = self.temperature if self.temperature_to is None else self.temperature_to
        rules = (
            ("prompt", len(self.prompt) > 0, "at least one character"),
            ("length", self.length >= 0, "0 or more"),
            ("temperature", 0 <= self.temperature < math.inf, "a number from 0"),
            ("temperature_to", 0 <= last < math.inf, "a number from 0, or None"),
            ("top_k", self.top_k is None or self.top_k >= 1, "1 or more, or None"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and up to 1, or None"),
            ("seed", 0 <= self.seed < SEEDS, "from 0 to 2^64 - 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "a number above 0"),
        )
        for name, kept, needed in rules:
            if not kept:
                raise ValueError(f"{name} is {getattr(self, name)!r}; needed is {needed}")

    @property
    def filtered(self) -> bool:
        """Whether it limits its draws, which takes the larger of a shape's two graphs."""
        return self.top_k is not None or self.top_p is not None or self.repetition_penalty != 1


class Sampler:
    """Writes with one set of weights. Sets of the same shape share their compiled graphs.

    A draft's text depends on the weights and the draft alone: not on the drafts beside it, and a
    longer text begins with the shorter one.
    """

    def __init__(
        self,
        weights: Mapping[str, FloatArray],
        network: NetworkConfig,
        *,
        xla: bool = True,
        exact: bool = True,
    ) -> None:
        """Fold the weights into what the compiled loop takes.

        Args:
            weights: In their true shapes, named as `network.weight_shapes()` names them.
            network: The network's numbers.
            xla: Compile by XLA; else TensorFlow runs the same graph operation by operation.
            exact: Batches of sizes whose rows have the same bits in each, as a CPU has them.
                Without, hundreds are written at once, which suits a GPU, and equal texts are
                not promised.

        Raises:
            ValueError: A weight is missing or has another shape.
            NotFinite: A weight is NaN or infinite, as after a training that diverged.
        """
        for name, sizes in network.weight_shapes().items():
            if name not in weights or weights[name].shape != sizes:
                raise ValueError(f"weight {name} is missing or not of shape {sizes}")
            if not np.isfinite(weights[name]).all():
                raise NotFinite(f"weight {name} holds a NaN or an infinity")
        #: Tells samplers of a stack apart in an order that nobody's turn changes.
        self.serial = next(_serials)
        self._network = network
        folded = fold(weights, network)
        self.weights = [tf.constant(array) for array in folded]
        self.buckets: tuple[int, ...] = EXACT_BUCKETS if exact else BUCKETS
        if network.window is not None:
            self.buckets = WINDOW_BUCKETS
        small = sum(array.nbytes for array in folded) <= MOST_STACKED_BYTES
        #: Whether it gains anything from sharing a step with others of its shape.
        self.stackable = exact and network.window is None and small
        self.shape = StepShape(
            vocabulary=padded_vocabulary(network.vocabulary_size),
            units=network.units,
            layers=network.layers,
            window=network.window,
            rows=self.buckets[0],
            filtered=False,
            xla=xla,
        )

    @property
    def capacity(self) -> int:
        """Streams that one batch holds at most."""
        return self.buckets[-1]

    def start(self, draft: SamplingRequest) -> Stream:
        """A draft as `advance` takes it, before its first step.

        Raises:
            ValueError: Its prompt holds an id outside the vocabulary.
        """
        prompt = np.asarray(draft.prompt)
        if prompt.min() < 0 or prompt.max() >= self._network.vocabulary_size:
            raise ValueError("a prompt holds an id outside the vocabulary")
        alone = replace(self.shape, rows=1)
        return Stream(draft, self._network.window, alone.new_state())

    def warm(self, rows: int = 1, *, filtered: bool = False, stacked: bool = False) -> None:
        """Compile what `rows` streams at once need, so that the first of them need not wait.

        `filtered` compiles for drafts that limit their draws, `stacked` for samplers that share a
        step.
        """
        draft = SamplingRequest(np.zeros(1, np.int32), 1, 1.0, 1 if filtered else None, None, 0)
        if stacked:
            advance_together([(self, [self.start(draft)])])
        else:
            self.advance([self.start(draft) for _ in range(min(rows, self.capacity))])

    def advance(self, streams: Sequence[Stream], steps: int | None = None) -> None:
        """Move some streams on by one call of the compiled loop.

        Args:
            streams: Of this sampler, at most `capacity`, all filtered or none of them.
            steps: At most so many; None makes as many as a call should.
        """
        rows = next(size for size in self.buckets if size >= len(streams))
        advance(self.weights, streams, range(len(streams)), replace(self.shape, rows=rows), steps)

    def write(
        self, drafts: Sequence[SamplingRequest], should_stop: Callable[[], bool] | None = None
    ) -> list[IdArray]:
        """Write all drafts; without their prompts, each [length] int32.

        Args:
            drafts: Any number; those that do not fit at once take turns.
            should_stop: Asked between calls of the compiled loop. Once it says yes, the texts
                are returned as far as they were written, possibly empty.

        Raises:
            ValueError: A prompt holds an id outside the vocabulary.
        """
        streams = [self.start(draft) for draft in drafts]
        for filtered in (False, True):
            alike = [stream for stream in streams if stream.draft.filtered is filtered]
            for first in range(0, len(alike), self.capacity):
                batch = alike[first : first + self.capacity]
                while batch := [stream for stream in batch if stream.left]:
                    if should_stop is not None and should_stop():
                        return [stream.written for stream in streams]
                    self.advance(batch)
        return [stream.written for stream in streams]


#: A sampler and those of its streams that move on.
Group = tuple[Sampler, Sequence[Stream]]


def advance_together(groups: Sequence[Group], steps: int | None = None) -> None:
    """Move streams of several samplers on in one step: `Sampler.advance` for a stack.

    The bits are those that each stream has in any other batch.

    Args:
        groups: At most `STACK`, of one shape, each of at most `STACKED_ROWS` streams, all filtered
            or none of them.
        steps: As for `Sampler.advance`.
    """
    # In one order, whoever's turn it is: the same samplers are then stacked once.
    groups = sorted(groups, key=lambda group: group[0].serial)
    first = groups[0][0]
    # Places without a sampler compute something that nobody asks for.
    samplers = (*(sampler for sampler, _ in groups), *[first] * (STACK - len(groups)))
    streams = [stream for _, some in groups for stream in some]
    places = [
        number * STACKED_ROWS + row
        for number, (_, some) in enumerate(groups)
        for row in range(len(some))
    ]
    shape = replace(first.shape, rows=STACK * STACKED_ROWS, stack=STACK)
    advance(_stacked(samplers), streams, places, shape, steps)


@lru_cache(maxsize=KEPT_STACKS)
def _stacked(samplers: tuple[Sampler, ...]) -> list[tf.Tensor]:
    return [tf.stack(each) for each in zip(*(one.weights for one in samplers), strict=True)]
