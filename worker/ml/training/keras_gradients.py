"""The network built from stock Keras layers: runs on cuDNN on a GPU, and is the tests' reference.

It uses only Keras operations, so Keras' backend decides what computes them. Only `_differentiate`
depends on the backend, because TensorFlow and JAX differentiate differently.

Keras runs an LSTM on cuDNN if it has the default activations, a bias and no dropout of its own,
and is not unrolled. The layers here meet this: dropout is applied by masks between the layers
(dropout.py). `uses_cudnn` checks a model.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from worker.ml.config import NetworkConfig, TrainConfig, padded_vocabulary

Tensor = Any


class Bias(keras.layers.Layer):  # type: ignore[misc]
    """Adds a trained number to each entry of the last axis."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the numbers, [V], for inputs of this shape."""
        self.bias = self.add_weight(shape=(shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs: Tensor) -> Tensor:
        """Add them to inputs [..., V]."""
        return inputs + self.bias


def build_model(network: NetworkConfig, last: bool, vocabulary: int, masked: bool = False) -> Any:
    """Build the network, with variables in the order of `network.weight_shapes()`.

    Args:
        network: The network's dimensions.
        last: Return logits after the last step only.
        vocabulary: Number of tokens, V; padded or not.
        masked: Take a second input, [B, layers, U]: factors of each layer's outputs.
    """
    if network.embedding:
        windows = keras.Input((None,), dtype="int32")
        # Its second call, below, multiplies with its transpose.
        embedding = keras.layers.ReversibleEmbedding(vocabulary, network.embedding)
        hidden = embedding(windows)
    else:
        windows = hidden = keras.Input((None, vocabulary))
    masks = keras.Input((network.layers, network.units))
    for layer in range(network.layers):
        top = last and layer == network.layers - 1
        hidden = keras.layers.LSTM(network.units, return_sequences=not top)(hidden)
        if masked:
            # The same factors at every step of a window.
            hidden = hidden * (masks[:, layer] if top else masks[:, layer, None])
    if network.tied_embedding:
        hidden = keras.layers.Dense(network.embedding)(hidden)
        scores = Bias()(embedding(hidden, reverse=True))
    else:
        scores = keras.layers.Dense(vocabulary)(hidden)
    return keras.Model([windows, masks] if masked else windows, scores)


def uses_cudnn(model: Any) -> bool:
    """Whether Keras would run every LSTM of a model on cuDNN on a machine with a GPU.

    Repeats Keras' conditions, because Keras answers only for the machine it runs on.
    """
    return all(
        layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
        and layer.use_bias
        and not layer.unroll
        and not layer.recurrent_dropout
        and layer.use_cudnn in ("auto", True)
        for layer in model.layers
        if isinstance(layer, keras.layers.LSTM)
    )


class KerasGradients:
    """Gradients by stock Keras layers, compiled by Keras' backend alone.

    XLA can't compile a call of cuDNN, but the update beside it, into one kernel.
    """

    compiles_update = True

    def __init__(self, config: TrainConfig) -> None:
        self._network = config.network
        self._last = config.predict == "last"
        self._vocabulary = padded_vocabulary(config.network.vocabulary_size)
        self._models = {
            masked: build_model(config.network, self._last, self._vocabulary, masked)
            for masked in (False, True)
        }
        self.gradients = _compile(self._gradients)
        self.evaluate = _compile(self._losses)

    def _gradients(
        self,
        weights: Mapping[str, Tensor],
        windows: Tensor,
        shares: Tensor,
        masks: Tensor | None = None,
        live: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        def loss(weights: Mapping[str, Tensor]) -> Tensor:
            losses, _ = self._losses(weights, windows, live, masks)
            return ops.sum(losses * shares)

        return _differentiate(loss, dict(weights))

    def _losses(
        self,
        weights: Mapping[str, Tensor],
        windows: Tensor,
        live: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        model = self._models[masks is not None]
        ordered = [weights[name] for name in self._network.weight_shapes()]
        # Keras' LSTM has the state of a dropout that is never used here.
        untrained = [variable.value for variable in model.non_trainable_variables]
        inputs = windows[:, :-1]
        if not self._network.embedding:
            inputs = ops.one_hot(inputs, self._vocabulary)
        if masks is not None:
            inputs = [inputs, ops.transpose(masks, (1, 0, 2))]
        scores, _ = model.stateless_call(ordered, untrained, inputs)
        if self._last:
            return _sum_losses(scores[:, None], windows[:, -1:])
        return _sum_losses(scores, windows[:, 1:], live)


def _sum_losses(
    scores: Tensor, targets: Tensor, live: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats and correct predictions of [B, T, V], summed over time: [B]."""
    losses = ops.sparse_categorical_crossentropy(targets, scores, from_logits=True)
    right = ops.equal(ops.cast(ops.argmax(scores, axis=-1), "int32"), targets)
    hits = ops.cast(right, "float32")
    if live is not None:
        losses, hits = losses * live, hits * live
    return ops.sum(losses, axis=1), ops.sum(hits, axis=1)


def _compile(function: Callable[..., Any]) -> Any:
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)


def _differentiate(
    function: Callable[[dict[str, Tensor]], Tensor], weights: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients by name, and the function's value."""
    if keras.backend.backend() == "jax":
        import jax

        value, gradients = jax.value_and_grad(function)(weights)
        return gradients, value
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(weights)
        value = function(weights)
    gradients = tape.gradient(value, weights)
    # Gradients of looked-up rows are slices; adding, clipping and updating need dense tensors.
    return {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}, value
