"""The network: its initial weights, its padding, and its logits in TensorFlow operations.

embedding (or one-hot tokens) → LSTM layers → one dense layer of logits. For a large alphabet the
dense layer is a projection to the embedding's units, times the embedding (Press and Wolf 2017).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.config import NetworkConfig
from worker.ml.lstm import unroll

Tensor = Any
Weights = dict[str, npt.NDArray[np.float32]]

#: Standard deviation of the initial embedding. Large (Keras' own is 0.03), so that characters
#: differ from the first step on, which saves about a third of the steps to a given loss.
EMBEDDING_SCALE = 0.3
#: The same for an embedding that gives logits too, which would be large otherwise.
TIED_EMBEDDING_SCALE = 0.1
#: Added to the counts of tokens, so that those that are only held out have a logarithm.
COUNT_SMOOTHING = 0.1
#: Logit of a padded token: its probability is exactly 0, and so is every gradient through it.
MASKED_LOGIT = -1e9
#: The random stream of the initial weights; an epoch's stream has the epoch's number.
WEIGHTS_STREAM = 2**63


def initial_weights(
    network: NetworkConfig, seed: int, counts: npt.NDArray[np.int64] | None = None
) -> Weights:
    """Weights before the first step, in true shapes; one seed gives one network.

    Args:
        network: The network's dimensions.
        seed: The seed of the random numbers.
        counts: How often each token occurs in what is trained on, [V]: the output's bias begins
            at their logarithms, so that no step has to learn them. None begins at 0.

    As in Keras, kernels are Glorot uniform, recurrent kernels orthogonal, and biases 0, except 1
    for the forget gate. The random numbers are the same everywhere. The last bits of the recurrent
    kernels depend on the CPU, because LAPACK factors them with code chosen by CPU.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, WEIGHTS_STREAM]))
    weights: Weights = {}
    for name, shape in network.weight_shapes().items():
        part = name.rpartition(".")[2]
        if part == "embedding":
            scale = TIED_EMBEDDING_SCALE if network.tied_embedding else EMBEDDING_SCALE
            weights[name] = random.normal(0, scale, shape).astype(np.float32)
        elif part == "kernel":
            limit = np.sqrt(6 / (shape[0] + shape[1]))
            weights[name] = random.uniform(-limit, limit, shape).astype(np.float32)
        elif part == "recurrent_kernel":
            weights[name] = _orthogonal(random, shape)
        else:
            weights[name] = np.zeros(shape, np.float32)
        if name.startswith("lstm.") and part == "bias":
            weights[name][network.units : 2 * network.units] = 1
    if counts is not None:
        smoothed = counts + COUNT_SMOOTHING
        weights["head.bias"] = np.log(smoothed / smoothed.sum()).astype(np.float32)
    return weights


def pad(weights: Mapping[str, npt.NDArray[Any]], network: NetworkConfig) -> Weights:
    """Enlarge arrays named after weights (`velocity.head.bias` too) to the vocabulary's bucket.

    Padded entries are 0, except that the head's bias masks the padded logits. Gradients there are
    exactly 0, so the entries never change.
    """
    shapes = network.padded_shapes()
    padded: Weights = {}
    for name, array in weights.items():
        shape = shapes[weight_of(name, network)]
        fill = MASKED_LOGIT if name in ("head.bias", "average.head.bias") else 0.0
        padded[name] = np.full(shape, fill, np.float32)
        padded[name][tuple(map(slice, array.shape))] = array
    return padded


def crop(arrays: Mapping[str, npt.NDArray[Any]], network: NetworkConfig) -> Weights:
    """Undo `pad`: cut arrays to their true shapes."""
    shapes = network.weight_shapes()
    return {
        name: np.ascontiguousarray(array[tuple(map(slice, shapes[weight_of(name, network)]))])
        for name, array in arrays.items()
    }


def weight_of(name: str, network: NetworkConfig) -> str:
    """The weight that a variable belongs to: itself, or the name after its slot's."""
    return name if name in network.weight_shapes() else name.partition(".")[2]


def logits(
    weights: Mapping[str, Tensor],
    ids: Tensor,
    network: NetworkConfig,
    last: bool,
    masks: Tensor | None = None,
) -> Tensor:
    """Logits from a zero state, for XLA.

    Args:
        weights: By name, padded.
        ids: Int32 [T, B], time first.
        network: The network's dimensions.
        last: Return only the logits after the last step.
        masks: Factors of each layer's outputs, [layers, B, U]; see training/dropout.py.

    Returns:
        Float32 [T, B, V], or [1, B, V]; V is padded.
    """
    steps, batch = ids.shape
    hidden: Tensor = None
    for layer in range(network.layers):
        if hidden is None:
            projected = _first_projection(weights, ids, network)
        else:
            flat = tf.matmul(
                tf.reshape(hidden, (-1, network.units)), weights[f"lstm.{layer}.kernel"]
            )
            projected = flat + weights[f"lstm.{layer}.bias"]
        projected = tf.reshape(projected, (steps, batch, 4 * network.units))
        hidden = unroll(projected, weights[f"lstm.{layer}.recurrent_kernel"])
        if last and layer == network.layers - 1:
            hidden = hidden[-1:]
        if masks is not None:
            hidden = hidden * masks[layer]
    flat = tf.reshape(hidden, (-1, network.units))
    if network.tied_embedding:
        flat = tf.matmul(flat, weights["projection.kernel"]) + weights["projection.bias"]
        flat = tf.matmul(flat, weights["embedding"], transpose_b=True)
    else:
        flat = tf.matmul(flat, weights["head.kernel"])
    return tf.reshape(flat + weights["head.bias"], (1 if last else steps, batch, -1))


def _first_projection(weights: Mapping[str, Tensor], ids: Tensor, network: NetworkConfig) -> Tensor:
    """Inputs of the first layer times its kernel plus its bias, [T·B, 4U].

    A one-hot vector times the kernel *is* a row of the kernel, so the row is looked up and no
    one-hot input is built. An embedding folds into the same table, `embedding · kernel`, if the
    vocabulary is no larger than the number of tokens to look up. XLA sums the gradient of
    looked-up rows ten times faster than it multiplies with one-hot vectors.
    """
    kernel, bias = weights["lstm.0.kernel"], weights["lstm.0.bias"]
    flat = tf.reshape(ids, (-1,))
    if not network.embedding:
        return tf.gather(kernel, flat) + bias
    embedding = weights["embedding"]
    if embedding.shape[0] <= flat.shape[0]:
        return tf.gather(tf.matmul(embedding, kernel) + bias, flat)
    return tf.matmul(tf.gather(embedding, flat), kernel) + bias


def _orthogonal(random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Orthonormal rows, [U, 4U], as Keras' initializer draws them (Saxe et al. 2013)."""
    q, r = np.linalg.qr(random.normal(size=(shape[1], shape[0])))
    return np.ascontiguousarray((q * np.sign(np.diag(r))).T, dtype=np.float32)
