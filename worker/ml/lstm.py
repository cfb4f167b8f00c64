"""An LSTM layer from a zero state, with hand-written back-propagation through time.

Keras' own layer leaves three quarters of a CPU idle, because it runs one small graph per step. Here
XLA compiles the loop. Only `h·R` and `dz·Rᵀ` stay inside it; everything that needs no recursion is
one large product outside: the projection of the input before the loop, the gradient of R after it.
Formulas: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; Keras' gate
order i, f, c, o.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any


def unroll(projected: Tensor, recurrent: Tensor) -> Tensor:
    """Hidden states of all steps, starting from zeros.

    Args:
        projected: Inputs times kernel plus bias, float32 [T, B, 4U], gates in the order i, f, c, o.
        recurrent: Recurrent kernel R, float32 [U, 4U].

    Returns:
        Float32 [T, B, U], differentiable in both arguments. T, B and U must be known when the
        graph is built.
    """
    return tf.custom_gradient(_unroll)(projected, recurrent)


def _unroll(projected: Tensor, recurrent: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
    steps, batch, _ = projected.shape
    units = recurrent.shape[0]
    zeros = tf.zeros((batch, units))
    # σ(z) is ½·tanh(½·z) + ½, so one tanh over the whole row computes all gates. XLA vectorizes it,
    # which it does not with a separate function for each gate's slice.
    half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), units)
    shift = np.repeat(np.array([0.5, 0.5, 0.0, 0.5], np.float32), units)

    def step(t: Tensor, h: Tensor, c: Tensor, *records: Any) -> tuple[Any, ...]:
        opened = tf.tanh((projected[t] + tf.matmul(h, recurrent)) * half) * half + shift
        i, f, g, o = tf.split(opened, 4, axis=1)
        c = f * c + i * g
        squashed = tf.tanh(c)
        h = o * squashed
        # One record each, so that the backward pass reads contiguous memory.
        kept = zip(records, (h, i, f, g, o, c, squashed), strict=True)
        return t + 1, h, c, *(record.write(t, each) for record, each in kept)

    records = [_record(steps, batch, units) for _ in range(7)]
    _, _, _, *records = _repeat(step, (0, zeros, zeros, *records), steps)
    hidden, ins, forgets, candidates, outs, cells, squashes = (each.stack() for each in records)

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        transposed = tf.transpose(recurrent)
        before = tf.concat([zeros[None], cells[:-1]], 0)

        def step_back(k: Tensor, dh: Tensor, dc: Tensor, dzs: Any) -> tuple[Any, ...]:
            t = steps - 1 - k
            i, f, g, o, squashed = ins[t], forgets[t], candidates[t], outs[t], squashes[t]
            dh = dh + upstream[t]
            dc = dc + dh * o * (1 - squashed * squashed)
            di, df = dc * g * i * (1 - i), dc * before[t] * f * (1 - f)
            dg, do = dc * i * (1 - g * g), dh * squashed * o * (1 - o)
            dz = tf.concat([di, df, dg, do], 1)
            return k + 1, tf.matmul(dz, transposed), dc * f, dzs.write(t, dz)

        start = (0, zeros, zeros, _record(steps, batch, 4 * units))
        *_, dzs = _repeat(step_back, start, steps)
        dz = dzs.stack()
        inputs = tf.concat([zeros[None], hidden[:-1]], 0)
        return dz, tf.matmul(
            tf.reshape(inputs, (-1, units)), tf.reshape(dz, (-1, 4 * units)), transpose_a=True
        )

    return hidden, gradient


def _record(steps: int, batch: int, width: int) -> Any:
    return tf.TensorArray(tf.float32, steps, element_shape=(batch, width))


def _repeat(body: Callable[..., tuple[Any, ...]], start: tuple[Any, ...], steps: int) -> Any:
    # XLA can lay out the records only of a loop whose length it knows.
    return tf.while_loop(lambda t, *_: t < steps, body, start, maximum_iterations=steps)
