"""The compiled loop of sampling: many tokens a call, with the network's state kept between calls.

Each row of a batch is one sequence, at its own position. A step feeds each row its last token and
yields the next one, which is either known (from the prompt) or drawn. Weights, temperatures,
prompts and lengths are arguments, so one graph serves all checkpoints of a shape. It can also
advance several checkpoints in one step: their weights are stacked and their products batched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import structlog
import tensorflow as tf

from worker.ml.config import NetworkConfig, padded_vocabulary
from worker.ml.sampling.draw import draw
from worker.ml.sampling.report import Report, empty_report, report_step, results_of_report

#: The most steps that one call can run; the actual number is an argument.
BLOCK = 256
#: A repetition penalty applies to this many last tokens, prompt included.
REPETITION_WINDOW = 64
#: Marks a token that is to be drawn, among the tokens that a call is to yield.
DRAWN = -1
#: The most work of one call. Sequences come and go between calls, so a call should not take much
#: longer than 10 ms on one core: 256 steps for one sequence of LSTM(128), 84 for 32 of them.
MULTIPLY_ADDS_PER_CALL = 200_000_000
#: The same if nobody reads its texts meanwhile: fewer, longer calls leave more time to the rest.
UNFOLLOWED_MULTIPLY_ADDS_PER_CALL = 600_000_000
#: Compiled graphs that a process keeps; the least recently used is dropped first. A shape has up to
#: ten, of some 4 MiB each. TensorFlow frees only a third of that for a dropped graph, and building
#: it again takes a second, so few should ever be dropped.
GRAPHS = 256

FloatArray = npt.NDArray[np.float32]
Step = Callable[..., tuple[Any, ...]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StepShape:
    """Everything that a compiled graph depends on; checkpoints of equal shape share the graph.

    Attributes:
        vocabulary: Size of the padded vocabulary, V.
        units: Units of each layer, U.
        layers: LSTM layers.
        window: Windows in flight per row, W, for a network that starts each window from zero;
            None for one that carries its state.
        rows: Rows of the batch, B.
        filtered: Whether top-k, top-p and the repetition penalty are part of the graph.
        xla: Whether XLA compiles it; otherwise TensorFlow runs it op by op.
        stack: Checkpoints that share a step, K; each has B / K consecutive rows.
        logits: Whether the graph also returns the logits, so that their bits can be compared.
        report: What the graph returns beside the tokens; None costs nothing.
    """

    vocabulary: int
    units: int
    layers: int
    window: int | None
    rows: int
    filtered: bool
    xla: bool
    stack: int = 1
    logits: bool = False
    report: Report | None = None

    @property
    def states(self) -> int:
        """LSTM states per layer: one per row, or one per window in flight."""
        return self.rows * (self.window or 1)

    @property
    def steps_per_call(self) -> int:
        """How many steps a call should run: BLOCK, or fewer for a large network."""
        return self._steps_within(MULTIPLY_ADDS_PER_CALL)

    @property
    def unfollowed_steps_per_call(self) -> int:
        """The same if nobody reads its sequences meanwhile."""
        return self._steps_within(UNFOLLOWED_MULTIPLY_ADDS_PER_CALL)

    def _steps_within(self, multiply_adds: int) -> int:
        lstm = self.states * (2 * self.layers - 1) * 4 * self.units**2
        head = self.rows * self.units * self.vocabulary
        return max(1, min(BLOCK, multiply_adds // (lstm + head)))

    def new_state(self) -> FloatArray:
        """The state before the first token, [layers, 2 (h, c), states, U]."""
        return np.zeros((self.layers, 2, self.states, self.units), np.float32)


def fold_weights(weights: Mapping[str, FloatArray], network: NetworkConfig) -> list[FloatArray]:
    """Convert weights to the arguments of the compiled graph.

    Returns:
        A look-up table [V, 4U] (embedding times kernel plus bias of the first layer; the kernel's
        rows plus bias for one-hot input) and the first recurrent kernel [U, 4U]. Then, for each
        further layer, the kernel above the recurrent kernel [2U, 4U] and the bias [4U]. Last, the
        head's kernel [U, V] and bias [V], which is minus infinity for padding.

    Gates i, f and o are halved: sigmoid(x) = 1/2 + tanh(x/2)/2, so one tanh serves all four.
    """
    padding = padded_vocabulary(network.vocabulary_size) - network.vocabulary_size
    half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), network.units)
    table = weights["lstm.0.kernel"]
    if network.embedding:
        table = weights["embedding"] @ table
    table = np.pad(table + weights["lstm.0.bias"], ((0, padding), (0, 0)))
    folded = [table * half, weights["lstm.0.recurrent_kernel"] * half]
    for layer in range(1, network.layers):
        name = f"lstm.{layer}."
        kernels = np.concatenate([weights[name + "kernel"], weights[name + "recurrent_kernel"]])
        folded += [kernels * half, weights[name + "bias"] * half]
    folded.append(np.pad(weights["head.kernel"], ((0, 0), (0, padding))))
    folded.append(np.pad(weights["head.bias"], (0, padding), constant_values=-np.inf))
    return [np.ascontiguousarray(array, np.float32) for array in folded]


@lru_cache(maxsize=GRAPHS)
def step_function(shape: StepShape) -> Step:
    """The compiled loop of one shape.

    It is traced when first requested and compiled at its first call. Both happen again only after
    it was dropped, because the process used `GRAPHS` others since.

    The compiled function takes arguments of fixed shape and type:
        weights: From `fold_weights`; for a stack, with K in front of each shape.
        state: [layers, 2, states, U], from `StepShape.new_state` or an earlier call.
        last: The token that each row's first step feeds, [B] int32.
        clock: Tokens fed to each row before this call, [B] int32.
        known: The token that each step is to yield, [BLOCK, B] int32, or DRAWN.
        uniform: One random number for each draw, [BLOCK, B].
        inverse_temperature: Of each draw, [BLOCK, B]; see `draw.draw`.
        steps: How many steps to run, [] int32, at most BLOCK.
        limits: Empty, or for a filtered shape `top_k` [B] int32, `top_p` [B], the logarithm of
            the repetition penalty [B], and the `clock` at which each token was last seen
            [B, V] int32.

    It returns the token that each step yielded, [BLOCK, B] int32; the natural logarithm of the
    probability that the network gave it, before temperature and limits, [BLOCK, B]; the new state;
    what the shape's `report` asks for: of each step the ids of the likeliest tokens, most likely
    first, [BLOCK, B, K] int32, and their log-probabilities [BLOCK, B, K]; or the logits of the
    first draw of each row [B, V]; and, if the shape asks for them, the logits of each step,
    [BLOCK, B, V].
    """
    if step_function.cache_info().currsize >= GRAPHS:
        log.warning("graph_dropped", kept=GRAPHS)

    def run(
        weights: Sequence[tf.Tensor],
        state: tf.Tensor,
        last: tf.Tensor,
        clock: tf.Tensor,
        known: tf.Tensor,
        uniform: tf.Tensor,
        inverse_temperature: tf.Tensor,
        steps: tf.Tensor,
        limits: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        top_k, top_p, penalty, seen = limits or (None, None, None, None)
        alphabet = tf.range(shape.vocabulary)[None]

        def body(index: tf.Tensor, *loop: Any) -> tuple[Any, ...]:
            yielded, logprobs, last, seen, states, report, kept_logits = loop
            now = clock + index
            states, logits = step_network(shape, weights, states, last, now)
            below = logits - tf.reduce_max(logits, -1, keepdims=True)
            wanted = below
            if shape.filtered:
                seen = tf.where(alphabet == last[:, None], now[:, None], seen)
                recent = now[:, None] - seen < REPETITION_WINDOW
                wanted = below - tf.where(recent, tf.expand_dims(penalty, 1), 0.0)
            drawn = draw(
                wanted,
                tf.gather(uniform, index),
                tf.gather(inverse_temperature, index),
                top_k,
                top_p,
            )
            given = tf.gather(known, index)
            last = tf.where(given == DRAWN, drawn, given)
            total = tf.math.log(tf.reduce_sum(tf.exp(below), -1))
            logprob = tf.gather(below, last, axis=1, batch_dims=1) - total
            yielded = tf.tensor_scatter_nd_update(yielded, [[index]], last[None])
            logprobs = tf.tensor_scatter_nd_update(logprobs, [[index]], logprob[None])
            report = report_step(shape.report, report, index, given == DRAWN, below, total)
            kept_logits = [
                tf.tensor_scatter_nd_update(kept, [[index]], logits[None]) for kept in kept_logits
            ]
            return (index + 1, yielded, logprobs, last, seen, states, report, kept_logits)

        states = [part for layer in tf.unstack(state) for part in tf.unstack(layer)]
        seen = tf.zeros(()) if seen is None else seen
        kept_logits = [tf.zeros([BLOCK, shape.rows, shape.vocabulary])] if shape.logits else []
        report = empty_report(shape.report, BLOCK, shape.rows, shape.vocabulary)
        start = (tf.constant(0), known, uniform, last, seen, states, report, kept_logits)
        _, yielded, logprobs, _, _, states, report, kept_logits = tf.while_loop(
            lambda index, *_: index < steps, body, start
        )
        reported = results_of_report(shape.report, report)
        state = tf.reshape(tf.stack(states), state.shape)
        return yielded, logprobs, state, *reported, *kept_logits

    # A concrete function skips argument matching, which costs as much as 50 steps.
    function = tf.function(run, jit_compile=shape.xla, autograph=False)
    return cast(Step, function.get_concrete_function(*_signature(shape)))


def step_network(
    shape: StepShape,
    weights: Sequence[tf.Tensor],
    states: Sequence[tf.Tensor],
    fed: tf.Tensor,
    clock: tf.Tensor,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Feed one token [B] to each row; returns the new states and the logits [B, V].

    With a window, each row has W windows in flight, each begun one token after the other and all
    fed the same token. The window that has now seen W tokens (or, early on, all there were) gives
    the logits; its place then restarts from zero. This equals running the network anew over the
    last W tokens for every token, but computes each step only once.

    Args:
        shape: The graph's shape.
        weights: From `fold_weights`; for K checkpoints, with K in front of each shape.
        states: h and c of each layer, [states, U] each.
        fed: The token to feed each row, [B].
        clock: Tokens fed to each row before, [B].
    """
    table, recurrent, *middle, head, head_bias = weights
    window = shape.window
    if window is not None:
        begins = tf.reshape(tf.range(window)[None] == clock[:, None] % window, [-1, 1])
        states = [tf.where(begins, 0.0, part) for part in states]
    drive = _look_up(shape, table, fed)
    if window is not None:
        drive = tf.repeat(drive, window, axis=0)
    h, c = _cell(drive + _product(shape, states[0], recurrent), states[1])
    new = [h, c]
    for layer in range(1, shape.layers):
        kernels, bias = middle[2 * layer - 2 : 2 * layer]
        both = tf.concat([h, states[2 * layer]], -1)
        gates = _product(shape, both, kernels) + _repeat_bias(shape, bias)
        h, c = _cell(gates, states[2 * layer + 1])
        new += [h, c]
    if window is not None:
        oldest = tf.maximum(clock - (window - 1), 0) % window
        rows = tf.reshape(h, [shape.rows, window, shape.units])
        h = tf.gather(rows, oldest, axis=1, batch_dims=1)
    return new, _product(shape, h, head) + _repeat_bias(shape, head_bias)


def _look_up(shape: StepShape, table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Look up ids [B] in a table [V, N], each in that of its own checkpoint: [B, N]."""
    if shape.stack == 1:
        return tf.gather(table, ids)
    found = tf.gather(table, tf.reshape(ids, [shape.stack, -1]), axis=1, batch_dims=1)
    return tf.reshape(found, [shape.rows, -1])


def _product(shape: StepShape, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Multiply rows [B, M] by a kernel [M, N], each by its own checkpoint's: [B, N]."""
    if shape.stack == 1:
        return tf.matmul(x, kernel)
    product = tf.matmul(tf.reshape(x, [shape.stack, -1, x.shape[-1]]), kernel)
    return tf.reshape(product, [shape.rows, -1])


def _repeat_bias(shape: StepShape, bias: tf.Tensor) -> tf.Tensor:
    """A bias [N] in the shape to add to rows; for K checkpoints, [B, N]."""
    return bias if shape.stack == 1 else tf.repeat(bias, shape.rows // shape.stack, axis=0)


def _cell(gates: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Keras' LSTM cell on gates i, f, c, o [N, 4U]; i, f and o are halved (`fold_weights`)."""
    i, f, g, o = tf.split(tf.tanh(gates), 4, -1)
    c = (0.5 + 0.5 * f) * c + (0.5 + 0.5 * i) * g
    return (0.5 + 0.5 * o) * tf.tanh(c), c


def _signature(shape: StepShape) -> list[Any]:
    units, gates, rows = shape.units, 4 * shape.units, shape.rows
    folded = [[shape.vocabulary, gates], [units, gates]]
    for _ in range(1, shape.layers):
        folded += [[2 * units, gates], [gates]]
    folded += [[units, shape.vocabulary], [shape.vocabulary]]

    front = [shape.stack] if shape.stack > 1 else []

    def ints(*sizes: int) -> tf.TensorSpec:
        return tf.TensorSpec(sizes, tf.int32)

    def floats(*sizes: int) -> tf.TensorSpec:
        return tf.TensorSpec(sizes, tf.float32)

    limits = [ints(rows), floats(rows), floats(rows), ints(rows, shape.vocabulary)]
    return [
        [floats(*front, *sizes) for sizes in folded],
        floats(shape.layers, 2, shape.states, units),
        ints(rows),
        ints(rows),
        ints(BLOCK, rows),
        floats(BLOCK, rows),
        floats(BLOCK, rows),
        ints(),
        limits if shape.filtered else [],
    ]
