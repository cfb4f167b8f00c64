"""Generates text with a trained network, one batch of sequences at a time."""

from collections import abc
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
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
#: Larger networks spend a CPU's steps in matrix products, which gain nothing from a stack.
MAX_STACKED_BYTES = 2**19
#: A GPU's steps take long for other reasons, so only its memory bounds the networks of a stack.
GPU_MAX_STACKED_BYTES = 2**22
#: A network with a window fills a product with its windows in flight: one sequence at a time.
WINDOW_BUCKETS = (1,)
#: On a GPU one sequence is too little even so: 32 of `classic` are 1,920 rows.
GPU_WINDOW_BUCKETS = (1, 8, 32)

#: TensorFlow's name of the CPU, for a process that has a GPU too.
CPU = "/CPU:0"

_serials = count()


def shortest_request(*, filtered: bool) -> SamplingRequest:
    """A request of one token, to compile with; `filtered` restricts its draw."""
    return SamplingRequest(np.zeros(1, np.int32), 1, 1.0, 1 if filtered else None, None, 0)


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
        device: str | None = None,
    ) -> None:
        """Fold the weights into the arguments of the compiled loop.

        Args:
            weights: In their true shapes, named as in `network.weight_shapes()`.
            network: The network's dimensions.
            xla: Compile with XLA; otherwise TensorFlow runs the same graph op by op.
            exact: Use batch sizes that give a row the same bits in each, as a CPU can. Without
                it, batches hold hundreds of sequences, which suits a GPU, and equal requests may
                give different texts.
            device: TensorFlow's name of what computes; None leaves it to TensorFlow, which takes a
                GPU where it sees one.

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
        self._place(fold_weights(weights, network), xla=xla, exact=exact, device=device)

    def _place(
        self, folded: abc.Sequence[FloatArray], *, xla: bool, exact: bool, device: str | None
    ) -> None:
        network = self._network
        self.device = device
        with tf.device(device):
            self.weights = [tf.constant(array) for array in folded]
        self.buckets: tuple[int, ...] = EXACT_BUCKETS if exact else BUCKETS
        if network.window is not None:
            self.buckets = WINDOW_BUCKETS if exact else GPU_WINDOW_BUCKETS
        most = MAX_STACKED_BYTES if exact else GPU_MAX_STACKED_BYTES
        small = sum(array.nbytes for array in folded) <= most
        #: Whether it gains from sharing a step with other samplers of its shape.
        self.stackable = network.window is None and small
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

    @cached_property
    def on_cpu(self) -> "Sampler":
        """The same network on the CPU and by a CPU's rules; itself if it is there already.

        It is made when first asked for, and takes the memory of the weights once more.
        """
        if not self.shape.gpu:
            return self
        twin = copy(self)
        folded = [tensor.numpy() for tensor in self.weights]
        twin._place(folded, xla=self.shape.xla, exact=True, device=CPU)
        return twin

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

    def warm_up(self, rows: int = 1, *, filtered: bool = False) -> None:
        """Compile the graph for `rows` sequences, so that the first of them needn't wait for it.

        Args:
            rows: Sequences in a batch.
            filtered: Compile for requests that restrict their draws.
        """
        request = shortest_request(filtered=filtered)
        self.advance([self.new_sequence(request) for _ in range(min(rows, self.capacity))])

    def rows(self, count: int) -> int:
        """The rows of a batch of so many sequences, padded to the next size."""
        return next(size for size in self.buckets if size >= count)

    def batch_shape(self, count: int) -> StepShape:
        """The shape of a batch of so many sequences."""
        return replace(self.shape, rows=self.rows(count))

    def advance(
        self,
        sequences: abc.Sequence[Sequence],
        steps: int | None = None,
        *,
        short: bool = True,
    ) -> None:
        """Advance sequences by one call of the compiled loop.

        Args:
            sequences: At most `capacity` of this sampler's, all of one `graph`.
            steps: At most this many steps; None runs as many as a call should.
            short: As for `steps_of_call`.
        """
        shape = self.batch_shape(len(sequences))
        rows = range(len(sequences))
        run_batch(self.weights, sequences, rows, shape, steps, short=short, device=self.device)

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
