"""The training loop: steps between validations, told in pieces, and resumed to the bit."""

import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.checkpoint import Checkpoint, fingerprint
from worker.ml.config import TrainConfig
from worker.ml.model import crop
from worker.ml.training.budget import Stopwatch
from worker.ml.training.divergence import Diverged, DivergenceMonitor
from worker.ml.training.dropout import step_masks
from worker.ml.training.loop_state import Loop
from worker.ml.training.optimizer import learning_rate, step_numbers
from worker.ml.training.progress import EpochEnd, Judged, Mark, Progress, Report, RolledBack
from worker.ml.training.rollback import Earlier, Recall, Rollback
from worker.ml.training.step import Backend, on_device, tensors, train_step
from worker.ml.training.validation import is_judged, steps_to_validation, validation_interval
from worker.ml.training.variables import Mismatch, beginning, from_checkpoint, to_checkpoint
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
        size = config.network.vocabulary_size
        if len(vocabulary) != size:
            raise Mismatch(f"{len(vocabulary)} tokens for a network of {size}")
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
        self._starts = lru_cache(maxsize=1)(partial(epoch_starts, self.config, self._characters))
        device = "gpu" if tf.config.get_visible_devices("GPU") else "cpu"
        self._fingerprint = fingerprint(config.threads, config.shards, device)
        meta = {} if state is None else state.meta
        loop = meta.get("loop", {})
        self._loop = Loop.from_dict(loop)
        if config.epochs is not None:
            self._loop.steps_total = round(config.epochs * self.steps_per_epoch)
        self._watch = DivergenceMonitor(config, loop.get("watch"))
        #: The step of its first state: 0, or that of the checkpoint which it continues.
        self.start_step = int(meta.get("start_step", 0))
        #: Rollbacks before that, which do not count against its own.
        self._start_rollbacks = int(meta.get("start_rollbacks", 0))
        variables = (
            beginning(config) if state is None else from_checkpoint(state, config, vocabulary)
        )
        self._variables = tensors(variables, config.network)
        self._rollback = Rollback(config, vocabulary, self.start_step, recall)
        self._rollback.keep(Earlier(self.step, self.val_loss, self._variables))
        self._mark_every: int | None = None
        self._stopwatch = None if config.seconds is None else Stopwatch(config.seconds)
        #: Whether every step so far was computed under one fingerprint: it is then the same to
        #: the bit as if it had never been stopped.
        same = meta.get("fingerprint") == self._fingerprint
        self.exact = state is None or (same and bool(meta.get("exact", True)))

    @property
    def step(self) -> int:
        """Steps done."""
        return self._loop.step

    @property
    def steps_total(self) -> int | None:
        """Steps at the end; None while a budget is measured, which is before the first event."""
        return self._loop.steps_total

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
        return self._loop.stopped

    @property
    def val_loss(self) -> float | None:
        """The newest validation loss; after a rollback that of the weights which are back."""
        return self._loop.val_loss

    @property
    def best_step(self) -> int | None:
        """The step with the least validation loss."""
        return self._loop.best_step

    @property
    def finished(self) -> bool:
        """Whether there is no step left to do."""
        total = self.steps_total
        return self.stopped_early or (total is not None and self.step >= total)

    def learning_rate(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        total = self.steps_total or UNKNOWN_STEPS
        return self._loop.rate_share * learning_rate(self.config, step, total)

    def run(
        self, mark_every: int | None = None, is_asked: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Train to the end, telling how it goes.

        Args:
            mark_every: Stop for a moment after every so many steps, too.
            is_asked: Whether to tell it after this call into the graph, due or not.

        Raises:
            Diverged: The loss exploded more often than it may be undone. The state is lost; the
                checkpoints are not.
        """
        self._mark_every = mark_every
        report = Report(self.config, self.steps_per_epoch)
        while not self.finished:
            try:
                event = self._go_on(report, is_asked)
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
                "loss": self._loop.loss,
                "val_loss": self._loop.val_loss,
                "loop": {**self._loop.as_dict(), "watch": self._watch.as_dict()},
                "start_step": self.start_step,
                "start_rollbacks": self._start_rollbacks,
                "config": self.config.as_dict(),
                "fingerprint": self._fingerprint,
                "exact": self.exact,
            },
        )

    def _go_on(self, report: Report, is_asked: Callable[[], bool]) -> Event | None:
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
        judged = is_judged(self.step, self._interval, self.steps_per_epoch)
        if judged or self.step == self.steps_total:
            return self._judge()
        if self._mark_every is not None and self.step % self._mark_every == 0:
            return Mark(self.step)
        if not (report.due or is_asked()):
            return None
        return report.progress(self.step, self.steps_total, self._loop.rate_share)

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
        numbers[:, 0] *= self._loop.rate_share
        started = time.perf_counter()
        self._variables, losses = self._step.train(
            self._variables, self._ids, starts, numbers, step_masks(self.config, steps)
        )
        seconds = time.perf_counter() - started
        windows = (starts >= 0).sum(axis=1)
        for step, loss, count in zip(steps, losses.tolist(), windows.tolist(), strict=True):
            # One by one, so that nothing depends on how many steps a call took.
            self._loop.stepped(step, loss, count)
            self._watch.add(step, loss)
        return losses, windows, seconds

    def _judge(self) -> Judged:
        val_loss, val_accuracy = self._evaluate(self._tail_starts)
        if not np.isfinite(val_loss):
            raise Diverged(self.step, val_loss)
        best = self._loop.judged(self.config, val_loss)
        if best:
            self._rollback.keep(Earlier(self.step, val_loss, self._variables))
        loss = self._loop.loss or 0.0
        epoch, within = divmod(self.step, self.steps_per_epoch)
        if within:
            return Judged(self.epoch, self.step, loss, val_loss, val_accuracy, best)
        return EpochEnd(epoch, self.step, loss, val_loss, val_accuracy, best)

    def _evaluate(self, starts: Starts) -> tuple[float, float]:
        weights, _ = to_checkpoint(self._variables, self.config)
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
        self._loop.steps_total = self.step + more

    def _roll_back(self, error: Diverged) -> RolledBack:
        """Take the best weights back, with half the rate; `error` itself when it is too often."""
        if self._loop.rollbacks - self._start_rollbacks >= self.config.rollbacks:
            raise error
        earlier = self._rollback.find(self.best_step)
        if earlier is None:
            raise error
        self._variables = earlier.variables
        self._watch = DivergenceMonitor(self.config)
        self._loop.went_back(earlier.val_loss)
        rate, times = self.learning_rate(self.step), self._loop.rollbacks - self._start_rollbacks
        return RolledBack(self.step, error.loss, earlier.step, rate, times)
