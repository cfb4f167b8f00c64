"""Generates text with a trained network, one batch of sequences at a time."""

from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count

import numpy as np
import tensorflow as tf

from worker.ml.config import NetworkConfig, padded_vocabulary
from worker.ml.sampling.batch import run_batch
from worker.ml.sampling.network import fold_weights
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sequence import IdArray, Sequence
from worker.ml.sampling.shape import FloatArray, StepShape

#: Batch sizes on a CPU; a batch is padded to the next one. XLA sums products in one order for 2 to
#: 32 rows, in another for one row, and in a third for more. Within these sizes the bits of a row
#: therefore don't depend on its batch (held by `tests/unit/ml/test_exact_bits.py`).
EXACT_BUCKETS = (2, 8, 16, 32)
#: Batch sizes where the bits of a row may depend on its batch: on a GPU, which wants many rows.
BUCKETS = (1, 8, 32, 128, 512, 2048)
#: Checkpoints that share a step on a CPU: as many as keep their weights in a core's cache. Each
#: gets the smallest number of rows that gives a row the bits it has in any other batch.
STACK = 4
STACKED_ROWS = 2
#: Larger networks spend their steps in matrix products, which gain nothing from a stack.
MAX_STACKED_BYTES = 2**19
#: Stacks kept, because the same checkpoints often share many steps in a row. They take at most
#: 32 MiB, and as much again in samplers that would otherwise be freed; `QUIRE_LOADED_BYTES` counts
#: neither.
KEPT_STACKS = 16
#: A network with a window fills a product with its windows in flight: one sequence at a time.
WINDOW_BUCKETS = (1,)
#: On a GPU one sequence is too little even so: 32 of `classic` are 1,920 rows.
GPU_WINDOW_BUCKETS = (1, 8, 32)

_serials = count()


class NonFiniteWeights(ValueError):
    """The weights contain NaN or infinity, so they cannot generate text."""


class Sampler:
    """Generates with one set of weights. Sets of the same shape share their compiled graphs.

    The text of a request depends on the weights and the request alone, not on the requests beside
    it, and a longer text begins with the shorter one.
    """

    def __init__(
        self,
        weights: Mapping[str, FloatArray],
        network: NetworkConfig,
        *,
        xla: bool = True,
        exact: bool = True,
    ) -> None:
        """Fold the weights into the arguments of the compiled loop.

        Args:
            weights: In their true shapes, named as in `network.weight_shapes()`.
            network: The network's dimensions.
            xla: Compile with XLA; otherwise TensorFlow runs the same graph op by op.
            exact: Use batch sizes that give a row the same bits in each, as a CPU can. Without
                it, batches hold hundreds of sequences, which suits a GPU, and equal requests may
                give different texts.

        Raises:
            ValueError: A weight is missing or has another shape.
            NonFiniteWeights: A weight is NaN or infinite, as after a diverged training.
        """
        for name, sizes in network.weight_shapes().items():
            if name not in weights or weights[name].shape != sizes:
                raise ValueError(f"weight {name} is missing or not of shape {sizes}")
            if not np.isfinite(weights[name]).all():
                raise NonFiniteWeights(f"weight {name} contains NaN or infinity")
        #: Orders the samplers of a stack, whatever order they are scheduled in.
        self.serial = next(_serials)
        self._network = network
        folded = fold_weights(weights, network)
        self.weights = [tf.constant(array) for array in folded]
        self.buckets: tuple[int, ...] = EXACT_BUCKETS if exact else BUCKETS
        if network.window is not None:
            self.buckets = WINDOW_BUCKETS if exact else GPU_WINDOW_BUCKETS
        small = sum(array.nbytes for array in folded) <= MAX_STACKED_BYTES
        #: Whether it gains from sharing a step with other samplers of its shape.
        self.stackable = exact and network.window is None and small
        self.shape = StepShape(
            vocabulary=padded_vocabulary(network.vocabulary_size),
            units=network.units,
            layers=network.layers,
            window=network.window,
            rows=self.buckets[0],
            filtered=False,
            xla=xla,
            gpu=not exact,
        )

    @property
    def capacity(self) -> int:
        """The most sequences that one batch holds."""
        return self.buckets[-1]

    def new_sequence(self, request: SamplingRequest) -> Sequence:
        """Start a sequence, ready for its first step.

        Raises:
            ValueError: The prompt contains an id outside the vocabulary.
        """
        prompt = np.asarray(request.prompt)
        size = self._network.vocabulary_size
        for id in (prompt.min(), prompt.max()):
            if not 0 <= id < size:
                raise ValueError(f"prompt contains id {id}, outside the vocabulary of {size}")
        alone = replace(self.shape, rows=1)
        return Sequence(request, self._network.window, alone.new_state())

    def warm_up(self, rows: int = 1, *, filtered: bool = False, stacked: bool = False) -> None:
        """Compile the graph for `rows` sequences, so that the first of them needn't wait for it.

        Args:
            rows: Sequences in a batch.
            filtered: Compile for requests that restrict their draws.
            stacked: Compile for samplers that share a step.
        """
        request = SamplingRequest(np.zeros(1, np.int32), 1, 1.0, 1 if filtered else None, None, 0)
        if stacked:
            advance_stack([(self, [self.new_sequence(request)])])
        else:
            self.advance([self.new_sequence(request) for _ in range(min(rows, self.capacity))])

    def batch_shape(self, count: int) -> StepShape:
        """The shape of a batch of so many sequences, padded to the next size."""
        return replace(self.shape, rows=next(size for size in self.buckets if size >= count))

    def advance(
        self,
        sequences: abc.Sequence[Sequence],
        steps: int | None = None,
        *,
        followed: bool = True,
    ) -> None:
        """Advance sequences by one call of the compiled loop.

        Args:
            sequences: At most `capacity` of this sampler's, all of one `graph`.
            steps: At most this many steps; None runs as many as a call should.
            followed: Whether somebody reads them as they are written: the call is short then.
        """
        shape = self.batch_shape(len(sequences))
        run_batch(self.weights, sequences, range(len(sequences)), shape, steps, followed=followed)

    def generate(
        self, requests: abc.Sequence[SamplingRequest], should_stop: Callable[[], bool] | None = None
    ) -> list[IdArray]:
        """Generate all requests; returns the texts without their prompts, each [length] int32.

        Args:
            requests: Any number; those that don't fit into one batch take turns.
            should_stop: Called between calls of the compiled loop. Once it returns True, the
                texts are returned as far as they are, possibly empty.

        Raises:
            ValueError: A prompt contains an id outside the vocabulary.
        """
        sequences = [self.new_sequence(request) for request in requests]
        for graph in dict.fromkeys(sequence.request.graph for sequence in sequences):
            alike = [sequence for sequence in sequences if sequence.request.graph == graph]
            for first in range(0, len(alike), self.capacity):
                batch = alike[first : first + self.capacity]
                while batch := [sequence for sequence in batch if sequence.remaining_steps]:
                    if should_stop is not None and should_stop():
                        return [sequence.output_ids for sequence in sequences]
                    self.advance(batch)
        return [sequence.output_ids for sequence in sequences]


#: A sampler and those of its sequences that advance.
Group = tuple[Sampler, abc.Sequence[Sequence]]


def steps_per_call(groups: abc.Sequence[Group], *, followed: bool) -> int:
    """How many steps a call for these sequences may run.

    Args:
        groups: One, as for `Sampler.advance`, or several, as for `advance_stack`.
        followed: As for `Sampler.advance`.
    """
    sampler, members = groups[0]
    shape = sampler.batch_shape(len(members)) if len(groups) == 1 else stack_shape(sampler)
    return shape.steps_per_call if followed else shape.unfollowed_steps_per_call


def advance_stack(
    groups: abc.Sequence[Group], steps: int | None = None, *, followed: bool = True
) -> None:
    """Advance sequences of several samplers in one call: `Sampler.advance` for a stack.

    Each sequence gets the bits that it would get in any other batch.

    Args:
        groups: At most `STACK` samplers of one shape, each with at most `STACKED_ROWS` sequences,
            all of one `graph`.
        steps: As for `Sampler.advance`.
        followed: As for `Sampler.advance`.
    """
    # In a fixed order, so that the same samplers are stacked only once.
    groups = sorted(groups, key=lambda group: group[0].serial)
    first = groups[0][0]
    # Empty places repeat the first sampler; nobody reads their results.
    samplers = (*(sampler for sampler, _ in groups), *[first] * (STACK - len(groups)))
    sequences = [sequence for _, members in groups for sequence in members]
    rows = [
        number * STACKED_ROWS + row
        for number, (_, members) in enumerate(groups)
        for row in range(len(members))
    ]
    shape = stack_shape(first)
    run_batch(_stack_weights(samplers), sequences, rows, shape, steps, followed=followed)


def stack_shape(sampler: Sampler) -> StepShape:
    """The shape of a stack of samplers that are shaped like this one."""
    return replace(sampler.shape, rows=STACK * STACKED_ROWS, stack=STACK)


@lru_cache(maxsize=KEPT_STACKS)
def _stack_weights(samplers: tuple[Sampler, ...]) -> list[tf.Tensor]:
    stacks = zip(*(sampler.weights for sampler in samplers), strict=True)
    return [tf.stack(weights) for weights in stacks]
