"""Validation on the held-out pieces: when it is due, and what it measures.

Intervals are counted in steps, never in seconds, so a training is the same on a slow machine.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from worker.ml.config import TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.items import ItemHoldout
from worker.ml.training.step import Counts, Sums, TrainStep, on_device
from worker.ml.training.variables import to_checkpoint
from worker.ml.vectorize import Parts, Starts, steps_per_epoch, validation_starts
from worker.ml.vocabulary import Ids

#: Trained characters between two validations. With the bound of
#: `vectorize.VALIDATION_CHARACTERS`, validation takes about a fiftieth of the time.
VALIDATION_INTERVAL_CHARACTERS = 20_000_000
#: Validation batches timed to estimate the duration of a whole validation.
TIMED_BATCHES = 8


def validation_interval(config: TrainConfig, parts: Parts) -> int:
    """Steps between two validations within an epoch; the end of an epoch is validated as well.

    Args:
        config: Has `validate_every`, or None for equal parts of an epoch of at most
            `VALIDATION_INTERVAL_CHARACTERS` characters.
        parts: What is trained on.
    """
    steps = steps_per_epoch(config, parts)
    if config.validate_every is not None:
        return min(config.validate_every, steps)
    validations = -(-steps * config.batch_size * config.window // VALIDATION_INTERVAL_CHARACTERS)
    return -(-steps // validations)


def steps_to_validation(step: int, interval: int, epoch_steps: int) -> int:
    """Steps from `step` to the next one that is validated."""
    done = step % epoch_steps
    return min(interval - done % interval, epoch_steps - done)


def is_validation_due(step: int, interval: int, epoch_steps: int) -> bool:
    """Whether a validation follows `step` steps, apart from the one at the training's end."""
    return step % epoch_steps % interval == 0


@dataclass(frozen=True, slots=True)
class Losses:
    """What a validation has measured.

    Attributes:
        loss: In nats per token, over all windows of what judges the training.
        accuracy: Share of correct predictions.
        pieces: The loss of each held-out piece, in the order of the text; None for a piece that is
            too short for a window.
    """

    loss: float
    accuracy: float
    pieces: tuple[float | None, ...]


class Validator:
    """Measures loss and accuracy on the held-out pieces of a text."""

    def __init__(
        self,
        config: TrainConfig,
        step: TrainStep,
        ids: Any,
        holdout: Holdout | ItemHoldout,
        lines: Ids | None = None,
        item_end: int | None = None,
    ) -> None:
        """Prepare the windows of the pieces.

        Args:
            config: The training's config.
            step: The compiled step.
            ids: The whole text, on the device.
            holdout: Its held-out pieces.
            item_end: The id of the token that ends an item of a list; None for a text.
            lines: What judges the training in place of the pieces; see `Holdout.shuffled_lines`.
        """
        self._config = config
        self._step = step
        self._item_end = item_end
        starts = validation_starts(config, holdout.pieces)
        #: No step has windows of two pieces.
        self._bounds = np.cumsum([0, *map(len, starts)])
        self._pieces = (ids, np.concatenate(starts))
        self._judges = self._pieces
        if lines is not None:
            [found] = validation_starts(config, [(0, len(lines))])
            self._judges = (on_device(lines), found)

    def evaluate(self, variables: Mapping[str, Any]) -> Losses:
        """Loss and accuracy from zero states, and the loss of each piece."""
        nats, hits, predictions = judged = self._evaluate(variables, *self._judges)
        loss, accuracy = _mean(nats, predictions), _mean(hits, predictions)
        if self._pieces is not self._judges:
            judged = self._evaluate(variables, *self._pieces)
        nats, _, predictions = judged
        pieces = [
            _mean(nats[first:end], predictions[first:end]) if end > first else None
            for first, end in pairwise(self._bounds.tolist())
        ]
        return Losses(loss, accuracy, tuple(pieces))

    def estimate_seconds(self, variables: Mapping[str, Any]) -> float:
        """Compile the graph, and estimate how long a validation takes."""
        ids, starts = self._judges
        self._evaluate(variables, ids, starts[:1])  # compiles
        timed = starts[:TIMED_BATCHES]
        started = time.perf_counter()
        self._evaluate(variables, ids, timed)
        steps = len(starts)
        if self._pieces is not self._judges:
            steps += len(self._pieces[1])
        return (time.perf_counter() - started) * steps / len(timed)

    def _evaluate(
        self, variables: Mapping[str, Any], ids: Any, starts: Starts
    ) -> tuple[Sums, Sums, Counts]:
        weights, _ = to_checkpoint(variables, self._config)
        return self._step.evaluate(weights, ids, starts, self._item_end)


def _mean(sums: Sums, predictions: Counts) -> float:
    return float(sums.sum(dtype=float)) / int(predictions.sum())
