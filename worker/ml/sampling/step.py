"""The compiled loop of sampling: many tokens a call, with the network's state kept between calls.

Each row of a batch is one sequence, at its own position. A step feeds each row its last token and
yields the next one, which is either known (from the prompt) or drawn. Weights, temperatures,
prompts and lengths are arguments, so one graph serves all checkpoints of a shape. It can also
advance several checkpoints in one step: their weights are stacked and their products batched.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import structlog
import tensorflow as tf

from worker.ml.sampling.device_rng import device_uniforms
from worker.ml.sampling.draw import draw
from worker.ml.sampling.network import step_network
from worker.ml.sampling.report import empty_report, report_step, results_of_report
from worker.ml.sampling.rng import SMALLEST_UNIFORM
from worker.ml.sampling.shape import BLOCK, DRAWN, REPETITION_WINDOW, StepShape

#: Compiled graphs that a process keeps; the least recently used is dropped first. A shape has up to
#: ten, of some 4 MiB each. TensorFlow frees only a third of that for a dropped graph, and building
#: it again takes a second, so few should ever be dropped.
GRAPHS = 256


log = structlog.get_logger(__name__)


class Step:
    """A compiled loop; see `step_function`.

    Args:
        function: The traced function, a `ConcreteFunction`.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self._run = function.inference_fn.call_flat
        self._captured = list(function.captured_inputs)

    def __call__(
        self, weights: Sequence[tf.Tensor], *others: tf.Tensor | Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Run it with the arguments of the function, as tensors of their types and shapes.

        To call the function itself takes half a millisecond more, as long as dozens of steps: it
        compares each argument with its signature first.
        """
        *arguments, limits = others
        results: list[tf.Tensor] = self._run(*weights, *arguments, *limits, *self._captured)
        return results


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
        uniform: One random number for each draw, [BLOCK, B]; for a GPU where each row's numbers
            begin, [B, 4] int32 from `device_rng.pack_streams`.
        inverse_temperature: Of each draw, [BLOCK, B]; see `draw.draw`. For a GPU, a negative one
            takes the smallest random number, as temperature 0 does.
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
        if shape.gpu:
            uniform = device_uniforms(uniform, BLOCK)
            uniform = tf.where(inverse_temperature < 0, SMALLEST_UNIFORM, uniform)
            inverse_temperature = tf.abs(inverse_temperature)

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
                by_sorting=shape.gpu,
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

    function = tf.function(run, jit_compile=shape.xla, autograph=False)
    return Step(function.get_concrete_function(*_signature(shape)))


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
        ints(rows, 4) if shape.gpu else floats(BLOCK, rows),
        floats(BLOCK, rows),
        ints(),
        limits if shape.filtered else [],
    ]
