"""Many training steps in one call: gather the windows, compute the shards, apply one update.

`Gradients` has one implementation per backend; everything else is shared, so both backends learn
the same.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.config import NetworkConfig, TrainConfig, padded_vocabulary
from worker.ml.model import pad
from worker.ml.training.dropout import Masks
from worker.ml.training.optimizer import update
from worker.ml.vectorize import ALIGNED_BYTES, Starts
from worker.ml.vocabulary import Ids

Tensor = Any
#: Compiled steps kept by a process; each takes a few dozen MB of graphs and programs.
PROGRAMS_KEPT = 4
Backend = Literal["xla", "keras"]
Sums = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


class Gradients(Protocol):
    """The gradients of a network. Weights are given by name, padded."""

    #: Whether XLA may compile the update as well.
    compiles_update: bool

    def gradients(
        self,
        weights: Mapping[str, Tensor],
        windows: Tensor,
        shares: Tensor,
        masks: Tensor | None = None,
        live: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Compute gradients by name, and the loss: the sum of each window's loss times its share.

        Args:
            weights: By name, padded.
            windows: Int32 [B, T + 1]: T tokens and, for each, the one after it.
            shares: Share of each window in the loss, [B].
            masks: Factors of each layer's outputs, [layers, B, U]; None for 1.
            live: Which targets count, float32 [B, T]; None for all.
        """

    def evaluate(
        self, weights: Mapping[str, Tensor], windows: Tensor, live: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Loss in nats summed over the targets, and correct predictions; each float32 [B]."""


class TrainStep:
    """Runs training steps on a device; holds no state of the training."""

    def __init__(self, config: TrainConfig, backend: Backend) -> None:
        """Prepare the graphs, which are compiled when they first run."""
        self._config = config
        self._shards = _shards(config.batch_size, config.shards)
        self._targets = 1 if config.predict == "last" else config.window
        self._backend = _gradients(config, backend)
        self._update = tf.function(
            self._updated, jit_compile=self._backend.compiles_update, autograph=False
        )
        self._run_train = _graph(self._steps)
        self._run_evaluate = _graph(self._evaluated)

    def train(
        self,
        state: Mapping[str, Tensor],
        ids: Tensor,
        starts: Starts,
        numbers: npt.NDArray[np.float32],
        masks: Masks | None = None,
        item_end: int | None = None,
    ) -> tuple[dict[str, Tensor], npt.NDArray[np.float32]]:
        """Run some steps; returns the state after them and the loss of each.

        Args:
            state: Weights, slots and averages by name, padded.
            ids: The text, on the device.
            starts: Int32 [steps, B]; see `vectorize.epoch_starts`.
            numbers: Float32 [steps, 2]; see `optimizer.step_numbers`.
            masks: Float32 [steps, layers, B, U]; see `dropout.step_masks`.
            item_end: The id of the token that ends an item of a list: what a window holds behind
                it does not count. None for a text.
        """
        kept = None if masks is None else tf.constant(masks)
        end = None if item_end is None else tf.constant(item_end)
        after, losses = self._run_train(
            dict(state), ids, tf.constant(starts), tf.constant(numbers), kept, end
        )
        return after, losses.numpy()

    def evaluate(
        self,
        weights: Mapping[str, Tensor],
        ids: Tensor,
        starts: Starts,
        item_end: int | None = None,
    ) -> tuple[Sums, Sums, Counts]:
        """Loss in nats, correct predictions and all predictions, from zero states.

        Returns:
            Their sums over each row of `starts`, [steps] each.
        """
        end = None if item_end is None else tf.constant(item_end)
        losses, hits, counts = self._run_evaluate(dict(weights), ids, tf.constant(starts), end)
        return losses.numpy(), hits.numpy(), counts.numpy().astype(np.int64)

    def _steps(
        self,
        state: dict[str, Tensor],
        ids: Tensor,
        starts: Tensor,
        numbers: Tensor,
        masks: Tensor | None,
        item_end: Tensor | None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        count = tf.shape(starts)[0]
        names = list(self._config.network.weight_shapes())

        def step(k: Tensor, state: dict[str, Tensor], losses: Any) -> tuple[Any, ...]:
            counted = self._counted(starts[k])
            weights = {name: state[name] for name in names}
            window, live = self._windows(ids, starts[k], item_end)
            shares = counted / self._predictions(counted, live)
            # The shards are independent, so the executor starts each on its own thread.
            found = [
                self._backend.gradients(
                    weights,
                    window[part],
                    shares[part],
                    None if masks is None else masks[k, :, part],
                    None if live is None else live[part],
                )
                for part in self._shards
            ]
            after = self._update(state, [gradients for gradients, _ in found], numbers[k])
            return k + 1, after, losses.write(k, tf.add_n([loss for _, loss in found]))

        losses = tf.TensorArray(tf.float32, count, element_shape=())
        _, after, losses = tf.while_loop(
            lambda k, *_: k < count, step, (0, state, losses), parallel_iterations=1
        )
        return after, losses.stack()

    def _updated(
        self, state: dict[str, Tensor], found: list[dict[str, Tensor]], numbers: Tensor
    ) -> dict[str, Tensor]:
        whole = {name: tf.add_n([shard[name] for shard in found]) for name in found[0]}
        return update(self._config, state, whole, numbers)

    def _evaluated(
        self, weights: dict[str, Tensor], ids: Tensor, starts: Tensor, item_end: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = tf.shape(starts)[0]

        def step(k: Tensor, losses: Any, hits: Any, counts: Any) -> tuple[Any, ...]:
            windows, live = self._windows(ids, starts[k], item_end)
            counted = self._counted(starts[k])
            found = [
                self._backend.evaluate(weights, windows[part], None if live is None else live[part])
                for part in self._shards
            ]
            loss = tf.reduce_sum(tf.concat([each for each, _ in found], 0) * counted)
            hit = tf.reduce_sum(tf.concat([each for _, each in found], 0) * counted)
            predictions = self._predictions(counted, live)
            return k + 1, losses.write(k, loss), hits.write(k, hit), counts.write(k, predictions)

        sums = [tf.TensorArray(tf.float32, count, element_shape=()) for _ in range(3)]
        _, losses, hits, counts = tf.while_loop(
            lambda k, *_: k < count, step, (0, *sums), parallel_iterations=1
        )
        return losses.stack(), hits.stack(), counts.stack()

    def _windows(
        self, ids: Tensor, starts: Tensor, item_end: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The windows, int32 [B, T + 1], and which of their targets count, float32 [B, T]."""
        # In place of a missing window, another one is read and not counted.
        places = tf.maximum(starts, 0)[..., None] + tf.range(self._config.window + 1)
        if item_end is not None:
            # The window of the list's last item may reach beyond it.
            places = tf.minimum(places, tf.shape(ids)[0] - 1)
        shape = (self._config.batch_size, self._config.window + 1)
        windows = tf.ensure_shape(tf.cast(tf.gather(ids, places), tf.int32), shape)
        if item_end is None:
            return windows, None
        ended = tf.cumsum(tf.cast(windows[:, :-1] == item_end, tf.int32), axis=1)
        return windows, tf.cast(ended == 0, tf.float32)

    def _predictions(self, counted: Tensor, live: Tensor | None) -> Tensor:
        """The predictions that count: all of the windows that count, or those within items."""
        if live is None:
            return tf.reduce_sum(counted) * self._targets
        return tf.reduce_sum(live * counted[:, None])

    def _counted(self, starts: Tensor) -> Tensor:
        return tf.ensure_shape(tf.cast(starts >= 0, tf.float32), (self._config.batch_size,))


def train_step(config: TrainConfig, backend: Backend) -> TrainStep:
    """The step of a config, compiled once for all configs that need the same program.

    Another text, seed, rate or number of epochs compiles nothing, as long as its vocabulary falls
    into the same bucket.
    """
    size = padded_vocabulary(config.network.vocabulary_size)
    program = replace(
        config,
        network=replace(config.network, vocabulary_size=size),
        average_decay=None if config.average_decay is None else 0.0,
        dropout=0.0,
        stride=1,
        learning_rate=0.0,
        schedule="constant",
        epochs=1,
        held_out=0.0,
        holdout="tail",
        items=False,
        seed=0,
        seconds=None,
        validate_every=None,
        patience=None,
        rollbacks=0,
    )
    return _cached_step(program, backend)


@lru_cache(maxsize=PROGRAMS_KEPT)
def _cached_step(config: TrainConfig, backend: Backend) -> TrainStep:
    return TrainStep(config, backend)


def to_device(
    variables: Mapping[str, npt.NDArray[Any]], network: NetworkConfig
) -> dict[str, Tensor]:
    """Pad variables and copy them to the device, as a step takes them."""
    padded = pad(dict(variables), network)
    return {name: tf.constant(array) for name, array in padded.items()}


def on_device(ids: Ids) -> Tensor:
    """Put ids where windows are gathered from: host memory, which every device can read.

    They keep their width there; only the windows of one call become int32. Ids in an array from
    `vectorize.empty_ids` are not copied.
    """
    with tf.device("/CPU:0"):
        if ids.ctypes.data % ALIGNED_BYTES == 0 and ids.flags.c_contiguous and ids.flags.writeable:
            return tf.experimental.dlpack.from_dlpack(ids.__dlpack__())
        return tf.constant(ids)


def ids_for_gpu(ids: Ids) -> Tensor:
    """Put ids where a GPU gathers windows from: its own memory, where there is a GPU.

    They become int32: TensorFlow has no kernel that gathers narrower whole numbers on a GPU, and
    would copy each window from the host.
    """
    return tf.identity(tf.constant(ids.astype(np.int32)))


def _graph(function: Any) -> Any:
    # The number of steps is open from the first call on, so another number compiles nothing.
    return tf.function(function, reduce_retracing=True, autograph=False)


def _shards(batch_size: int, shards: int) -> list[slice]:
    if not 1 <= shards <= batch_size:
        raise ValueError(f"shards is {shards}; it must be from 1 to {batch_size}, the batch size")
    bounds = np.linspace(0, batch_size, shards + 1).astype(int).tolist()
    return [slice(first, last) for first, last in pairwise(bounds)]


def _gradients(config: TrainConfig, backend: Backend) -> Gradients:
    if backend == "keras":
        from worker.ml.training.keras_gradients import KerasGradients

        return KerasGradients(config)
    from worker.ml.training.xla_gradients import XlaGradients

    return XlaGradients(config)
