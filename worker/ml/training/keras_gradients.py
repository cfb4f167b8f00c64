"""The same network from stock Keras layers: what a GPU runs on cuDNN, and the reference in tests.

Only Keras' own operations stand here, so Keras' backend decides who computes; TensorFlow's and
JAX's ways to differentiate differ, and `_differentiated` is all that knows it.

Keras takes cuDNN for its LSTM while the activations are its defaults, a bias is used, no dropout
of its own is asked for and the layer is not unrolled, which is what stands here: outputs are left
out by masks between the layers (dropout.py). `chooses_cudnn` says so of a model.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from worker.ml.config import NetworkConfig, TrainConfig, padded_vocabulary

Tensor = Any


def build(network: NetworkConfig, last: bool, vocabulary: int, masked: bool = False) -> Any:
    """Stock layers, whose variables stand in the order of `network.weight_shapes()`.

    Args:
        network: The network's numbers.
        last: Logits after the last step only.
        vocabulary: Rows and logits, V; padded or not.
        masked: A second input, [B, layers, U], holds factors of each layer's outputs.
    """
    if network.embedding:
        windows = keras.Input((None,), dtype="int32")
        hidden = keras.layers.Embedding(vocabulary, network.embedding)(windows)
    else:
        windows = hidden = keras.Input((None, vocabulary))
    masks = keras.Input((network.layers, network.units))
    for layer in range(network.layers):
        top = last and layer == network.layers - 1
        hidden = keras.layers.LSTM(network.units, return_sequences=not top)(hidden)
        if masked:
            # The same factors at every step of a window.
            hidden = hidden * (masks[:, layer] if top else masks[:, layer, None])
    scores = keras.layers.Dense(vocabulary)(hidden)
    return keras.Model([windows, masks] if masked else windows, scores)


def chooses_cudnn(model: Any) -> bool:
    """Whether Keras runs every LSTM of a model on cuDNN where there is a GPU; its own conditions.

    Stated again here because Keras answers for the machine at hand only.
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
    """Stock layers, compiled by nobody but Keras' backend."""

    compiles_update = False

    def __init__(self, config: TrainConfig) -> None:
        self._network = config.network
        self._last = config.predict == "last"
        self._vocabulary = padded_vocabulary(config.network.vocabulary_size)
        self._models = {
            masked: build(config.network, self._last, self._vocabulary, masked)
            for masked in (False, True)
        }
        self.gradients = _compiled(self._gradients)
        self.evaluate = _compiled(self._losses)

    def _gradients(
        self,
        weights: Mapping[str, Tensor],
        windows: Tensor,
        shares: Tensor,
        masks: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        def loss(weights: Mapping[str, Tensor]) -> Tensor:
            losses, _ = self._losses(weights, windows, masks)
            return ops.sum(losses * shares)

        return _differentiated(loss, dict(weights))

    def _losses(
        self, weights: Mapping[str, Tensor], windows: Tensor, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        model = self._models[masks is not None]
        ordered = [weights[name] for name in self._network.weight_shapes()]
        # Keras' LSTM carries the state of a dropout that is never used here.
        unchanging = [variable.value for variable in model.non_trainable_variables]
        inputs = windows[:, :-1]
        if not self._network.embedding:
            inputs = ops.one_hot(inputs, self._vocabulary)
        if masks is not None:
            inputs = [inputs, ops.transpose(masks, (1, 0, 2))]
        scores, _ = model.stateless_call(ordered, unchanging, inputs)
        if self._last:
            return _summed(scores[:, None], windows[:, -1:])
        return _summed(scores, windows[:, 1:])


def _summed(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats and right guesses of [B, T, V], summed over the time axis: [B]."""
    losses = ops.sparse_categorical_crossentropy(targets, scores, from_logits=True)
    right = ops.equal(ops.cast(ops.argmax(scores, axis=-1), "int32"), targets)
    return ops.sum(losses, axis=1), ops.sum(ops.cast(right, "float32"), axis=1)


def _compiled(function: Callable[..., Any]) -> Any:
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)


def _differentiated(
    function: Callable[[dict[str, Tensor]], Tensor], weights: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients by name, and the value."""
    if keras.backend.backend() == "jax":
        import jax

        value, gradients = jax.value_and_grad(function)(weights)
        return gradients, value
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(weights)
        value = function(weights)
    found = tape.gradient(value, weights)
    # Those of looked-up rows come as slices; adding, clipping and updating want them whole.
    return {name: tf.convert_to_tensor(each) for name, each in found.items()}, value
