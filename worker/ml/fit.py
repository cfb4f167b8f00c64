"""The training loop: steps between validations, told in pieces, and resumed to the bit."""

import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.budget import Stopwatch
from worker.ml.checkpoint import Checkpoint, fingerprint
from worker.ml.config import TrainConfig
from worker.ml.dropout import step_masks
from worker.ml.loss_watch import Diverged, LossWatch
from worker.ml.model import crop, pad
from worker.ml.optimizer import learning_rate, step_numbers
from worker.ml.progress import EpochEnd, Judged, Mark, Progress, Report, RolledBack
from worker.ml.step import Backend, on_device, train_step
from worker.ml.validation import note_judgement, steps_to_validation, validation_interval
from worker.ml.variables import Arrays, Mismatch, beginning, from_checkpoint, to_checkpoint
from worker.ml.vectorize import (
    Starts,
    epoch_starts,
    split_held_out,
    steps_per_epoch,
    validation_starts,
)
from worker.ml.vocabulary import Ids, Vocabulary

#: While a budget's steps are not fixed yet, the schedule is that of a training without an end.
UNKNOWN_STEPS = 10**9
Event = Progress | Judged | Mark | RolledBack
#: Gives the checkpoint of a step of this training, or the best one that is still there; None
#: where there is none.
Recall = Callable[[int], Checkpoint | None]


class Trainer:
    """One training of one network on one text.

    Whoever iterates over `run()` may stop between any two events, keep `state()`, and go on
    later from there: on a CPU the result is the same to the bit.
    """

    def __init__(
        self,
        config: TrainConfig,
        ids: Ids,
        vocabulary: Vocabulary,
        *,
        lowercase: bool = False,
        state: Checkpoint | None = None,
        backend: Backend = "xla",
        recall: Recall | None = None,
    ) -> None:
        """Set up a training, from its beginning or from `state`.

        Args:
            config: All its numbers.
            ids: The whole text, with the tail that is to be held out.
            vocabulary: What the ids mean.
            lowercase: Whether the text was lower-cased; kept for the texts to come.
            state: A checkpoint of the same training; more epochs may be asked for.
            backend: "xla" for a CPU, "keras" for a GPU.
            recall: Where the best weights are taken from when the loss explodes. They must have
                been kept whenever a `Judged` says `best`. Without it they are kept in memory.

        Raises:
            TooShort: The text does not hold a window to learn from and one to be judged by.
            Mismatch: The state is one of another network, vocabulary or optimizer.
        """
        if len(vocabulary) != config.network.vocabulary_size:
            raise Mismatch(
                f"{len(vocabulary)} tokens for a network of {config.network.vocabulary_size}"
            )
        train, tail = split_held_out(ids, config)
        self.config = config
        self.backend: Backend = backend
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self.steps_per_epoch = steps_per_epoch(config, len(train))
        self._interval = validation_interval(config, len(train))
        self._characters = len(train)
        self._ids = on_device(ids)
        tail_starts = validation_starts(config, len(tail))
        self._tail_starts = np.where(tail_starts >= 0, tail_starts + len(train), tail_starts)
        self._step = train_step(config, backend)
        self._starts = lru_cache(maxsize=1)(self._epoch_starts)
        device = "gpu" if tf.config.get_visible_devices("GPU") else "cpu"
        self._fingerprint = fingerprint(config.threads, config.shards, device)
        self._loop: dict[str, Any] = {
            "step": 0,
            "steps_total": None,
            "loss_sum": 0.0,
            "windows": 0,
            "loss": None,
            "val_loss": None,
            "best_val_loss": None,
            "best_step": None,
            "stale": 0,
            "stopped": False,
            "rollbacks": 0,
        }
        #: The step of its first state: 0, or that of the checkpoint which it continues.
        self.start_step = 0 if state is None else int(state.meta.get("start_step", 0))
        variables = beginning(config) if state is None else self._matched(state)
        if state is not None:
            self._loop |= dict(state.meta["loop"])
        if config.epochs is not None:
            self._loop["steps_total"] = round(config.epochs * self.steps_per_epoch)
        self._watch = LossWatch(config, self._loop.pop("watch", None))
        self._set(variables)
        self._recall = recall
        self._kept = None if recall else (self.step, self._variables)
        self._mark_every: int | None = None
        self._stopwatch = None if config.seconds is None else Stopwatch(config.seconds)
        #: Whether every step so far was computed under one fingerprint: it is then the same to
        #: the bit as if it had never been stopped.
        self.exact = state is None or (
            bool(state.meta.get("exact", True))
            and state.meta.get("fingerprint") == self._fingerprint
        )

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self._loop["step"])

    @property
    def steps_total(self) -> int | None:
        """Steps at the end; None while a budget is measured, which is before the first event."""
        total: int | None = self._loop["steps_total"]
        return total

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction of the one that runs."""
        return self.step / self.steps_per_epoch

    @property
    def epochs(self) -> float | None:
        """Epochs at the end; with a fraction where it lies inside one."""
        total = self.steps_total
        if self.config.epochs is not None or total is None:
            return self.config.epochs
        return total / self.steps_per_epoch

    @property
    def stopped_early(self) -> bool:
        """Whether `patience` has ended it."""
        return bool(self._loop["stopped"])

    @property
    def val_loss(self) -> float | None:
        """The newest validation loss; after a rollback that of the weights which are back."""
        loss: float | None = self._loop["val_loss"]
        return loss

    @property
    def best_step(self) -> int | None:
        """The step with the least validation loss."""
        best: int | None = self._loop["best_step"]
        return best

    @property
    def finished(self) -> bool:
        """Whether there is no step left to do."""
        total = self.steps_total
        return self.stopped_early or (total is not None and self.step >= total)

    def learning_rate(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        total = self.steps_total or UNKNOWN_STEPS
        return self._rate_share * learning_rate(self.config, step, total)

    def run(self, mark_every: int | None = None) -> Iterator[Event]:
        """Train to the end, telling how it goes.

        Args:
            mark_every: Stop for a moment after every so many steps, too.

        Raises:
            Diverged: The loss exploded more often than it may be undone. The state is lost; the
                checkpoints are not.
        """
        self._mark_every = mark_every
        report = Report(self.config, self.steps_per_epoch)
        while not self.finished:
            try:
                event = self._go_on(report)
            except Diverged as error:
                event = self._roll_back(error)
            if event is not None:
                yield event
            if isinstance(event, Judged | RolledBack):
                report.restart()

    def state(self) -> Checkpoint:
        """Everything at this moment, in true shapes."""
        network = self.config.network
        arrays = {name: tensor.numpy() for name, tensor in self._variables.items()}
        weights, training = to_checkpoint(crop(arrays, network), self.config)
        return Checkpoint(
            weights=weights,
            training=training,
            network=network,
            characters=self.vocabulary.characters,
            words=self.vocabulary.words,
            lowercase=self.lowercase,
            meta={
                "step": self.step,
                "epoch": self.epoch,
                "loss": self._loop["loss"],
                "val_loss": self._loop["val_loss"],
                "loop": {**self._loop, "watch": self._watch.as_dict()},
                "start_step": self.start_step,
                "config": self.config.as_dict(),
                "fingerprint": self._fingerprint,
                "exact": self.exact,
            },
        )

    @property
    def _rate_share(self) -> float:
        return float(0.5 ** self._loop["rollbacks"])

    def _set(self, variables: Arrays) -> None:
        padded = pad(variables, self.config.network)
        self._variables = {name: tf.constant(array) for name, array in padded.items()}

    def _matched(self, state: Checkpoint) -> Arrays:
        return from_checkpoint(state, self.config, self.vocabulary)

    def _epoch_starts(self, epoch: int) -> Starts:
        return epoch_starts(self.config, self._characters, epoch)

    def _go_on(self, report: Report) -> Event | None:
        """One call's steps, and what there is to tell of them."""
        if self._stopwatch is not None and self.steps_total is None:
            self._stopwatch.start()
        report.add(*self._advance(report.steps_per_call))
        if self.steps_total is None:
            self._fix_steps(report)
            if self.steps_total is None:
                return None
            if self.step >= self._interval:
                # Of the validations that passed while the speed was measured, one is held.
                return self._judge()
        if self.step == self.steps_total or self._is_judged(self.step):
            return self._judge()
        if self._mark_every is not None and self.step % self._mark_every == 0:
            return Mark(self.step)
        if not report.due:
            return None
        return report.progress(self.step, self.steps_total, self._rate_share)

    def _advance(self, most: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], float]:
        """Up to `most` steps in one call: losses, windows in each, seconds."""
        most = min(most, steps_to_validation(self.step, self._interval, self.steps_per_epoch))
        if self._mark_every is not None:
            most = min(most, self._mark_every - self.step % self._mark_every)
        total = self.steps_total or UNKNOWN_STEPS
        epoch, done = divmod(self.step, self.steps_per_epoch)
        if done == 0:
            # Before the next epoch's starts are made: of a large text they are large themselves.
            self._starts.cache_clear()
        starts = self._starts(epoch)[done : done + min(most, total - self.step)]
        steps = range(self.step, self.step + len(starts))
        numbers = step_numbers(self.config, steps, total)
        # A power of two: the product is exact.
        numbers[:, 0] *= self._rate_share
        started = time.perf_counter()
        self._variables, losses = self._step.train(
            self._variables, self._ids, starts, numbers, step_masks(self.config, steps)
        )
        seconds = time.perf_counter() - started
        windows = (starts >= 0).sum(axis=1)
        for step, loss, count in zip(steps, losses.tolist(), windows.tolist(), strict=True):
            # One by one, so that nothing depends on how many steps a call took.
            self._loop["step"] = step + 1
            self._watch.add(step, loss)
            self._loop["loss_sum"] += loss * count
            self._loop["windows"] += count
        return losses, windows, seconds

    def _is_judged(self, step: int) -> bool:
        done = step % self.steps_per_epoch
        return done % self._interval == 0

    def _judge(self) -> Judged:
        val_loss, val_accuracy = self._evaluate(self._tail_starts)
        if not np.isfinite(val_loss):
            raise Diverged(self.step, val_loss)
        loss = self._loop["loss_sum"] / self._loop["windows"]
        self._loop |= {"loss_sum": 0.0, "windows": 0, "loss": loss}
        best = note_judgement(self._loop, self.config, val_loss)
        if best and self._kept is not None:
            self._kept = self.step, self._variables
        epoch, within = divmod(self.step, self.steps_per_epoch)
        if within:
            return Judged(self.epoch, self.step, loss, val_loss, val_accuracy, best)
        return EpochEnd(epoch, self.step, loss, val_loss, val_accuracy, best)

    def _evaluate(self, starts: Starts) -> tuple[float, float]:
        prefix = "" if self.config.average_decay is None else "average."
        names = self.config.network.weight_shapes()
        weights = {name: self._variables[prefix + name] for name in names}
        return self._step.evaluate(weights, self._ids, starts)

    def _fix_steps(self, report: Report) -> None:
        if self._stopwatch is None or not self._stopwatch.has_measured(report):
            return
        self._evaluate(self._tail_starts[:1])  # compiles
        some = self._tail_starts[:8]
        started = time.perf_counter()
        self._evaluate(some)
        seconds = (time.perf_counter() - started) * len(self._tail_starts) / len(some)
        more = self._stopwatch.steps(report, seconds, self._interval)
        self._loop["steps_total"] = self.step + more

    def _roll_back(self, error: Diverged) -> RolledBack:
        """Take the best weights back, with half the rate; `error` itself when it is too often."""
        if self._loop["rollbacks"] >= self.config.rollbacks:
            raise error
        val_loss = self._loop["best_val_loss"]
        if self._kept is not None:
            back_to, self._variables = self._kept
        elif (state := self._recalled()) is not None:
            back_to, val_loss = int(state.meta["step"]), state.meta["val_loss"]
            self._set(self._matched(state))
        elif self.start_step == 0:
            back_to, val_loss = 0, None
            self._set(beginning(self.config))
        else:
            raise error
        self._watch = LossWatch(self.config)
        self._loop |= {"loss_sum": 0.0, "windows": 0, "val_loss": val_loss}
        self._loop["rollbacks"] += 1
        rate = self.learning_rate(self.step)
        return RolledBack(self.step, error.loss, back_to, rate, self._loop["rollbacks"])

    def _recalled(self) -> Checkpoint | None:
        """The best checkpoint; where it is gone, the first.

        The best of a training that goes on may be that of an earlier one, which keeps it no
        longer than it likes; the first is always its own.
        """
        if self._recall is None:
            return None
        steps = [self.start_step] if self.best_step is None else [self.best_step, self.start_step]
        return next((state for step in steps if (state := self._recall(step)) is not None), None)
