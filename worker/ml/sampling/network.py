"""The network as sampling computes it: one token for each row, with folded weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from worker.ml.config import NetworkConfig, padded_vocabulary
from worker.ml.sampling.shape import FloatArray, StepShape


def fold_weights(weights: Mapping[str, FloatArray], network: NetworkConfig) -> list[FloatArray]:
    """Convert weights to the arguments of the compiled graph.

    Returns:
        A look-up table [V, 4U] (embedding times kernel plus bias of the first layer; the kernel's
        rows plus bias for one-hot input) and the first recurrent kernel [U, 4U]. Then, for each
        further layer, the kernel above the recurrent kernel [2U, 4U] and the bias [4U]. Last, the
        head's kernel [U, V] (of a tied embedding, the projection times it) and bias [V], which is
        minus infinity for padding.

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
    if network.tied_embedding:
        # A projection without an activation folds into one kernel, and so does its bias.
        head = weights["projection.kernel"] @ weights["embedding"].T
        head_bias = weights["projection.bias"] @ weights["embedding"].T + weights["head.bias"]
    else:
        head, head_bias = weights["head.kernel"], weights["head.bias"]
    folded.append(np.pad(head, ((0, 0), (0, padding))))
    folded.append(np.pad(head_bias, (0, padding), constant_values=-np.inf))
    return [np.ascontiguousarray(array, np.float32) for array in folded]


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
