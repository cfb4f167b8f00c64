"""The network's gradients on a CPU: hand-written, with each shard compiled by XLA."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from worker.ml.config import TrainConfig
from worker.ml.model import logits

Tensor = Any


class XlaGradients:
    """Gradients by the hand-written LSTM (lstm.py), compiled once per shard shape."""

    compiles_update = True

    def __init__(self, config: TrainConfig) -> None:
        self._network = config.network
        self._last = config.predict == "last"
        self.gradients = tf.function(self._gradients, jit_compile=True, autograph=False)
        self.evaluate = tf.function(self._evaluate, jit_compile=True, autograph=False)

    def _gradients(
        self,
        weights: Mapping[str, Tensor],
        windows: Tensor,
        shares: Tensor,
        masks: Tensor | None = None,
        live: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            losses, _ = self._losses(weights, windows, masks, live)
            loss = tf.reduce_sum(losses * shares)
        return _dense(tape.gradient(loss, weights)), loss

    def _evaluate(
        self, weights: Mapping[str, Tensor], windows: Tensor, live: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        losses, hits = self._losses(weights, windows, live=live)
        return losses, hits

    def _losses(
        self,
        weights: Mapping[str, Tensor],
        windows: Tensor,
        masks: Tensor | None = None,
        live: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        by_time = tf.transpose(windows)
        scores = logits(weights, by_time[:-1], self._network, self._last, masks)
        counted = None if live is None else tf.transpose(live)
        return sum_losses(scores, by_time[-1:] if self._last else by_time[1:], 0, counted)


def _dense(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make gradients of looked-up rows dense, as adding, clipping and updating need them."""
    return {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}


def sum_losses(
    scores: Tensor, targets: Tensor, axis: int, live: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats and correct predictions, summed over time; [T, B] or [B, T].

    Where `live` is given, only the targets at which it is 1 count.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=scores)
    right = tf.equal(tf.argmax(scores, axis=-1, output_type=tf.int32), targets)
    hits = tf.cast(right, tf.float32)
    if live is not None:
        losses, hits = losses * live, hits * live
    return tf.reduce_sum(losses, axis), tf.reduce_sum(hits, axis)
