"""The training loop: yields events, and resumes from a checkpoint to the bit."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from worker.ml.checkpoint import TrainingState, fingerprint
from worker.ml.config import ITEM_END, TrainConfig
from worker.ml.holdout import Holdout
from worker.ml.model import crop
from worker.ml.training.budget import TimeBudget
from worker.ml.training.divergence import Diverged, DivergenceMonitor
from worker.ml.training.dropout import step_masks
from worker.ml.training.loop_state import LoopState
from worker.ml.training.progress import (
    EpochEnd,
    IntervalReached,
    ProgressMeter,
    RolledBack,
    TrainingProgress,
    Validated,
)
from worker.ml.training.rollback import Rollback, Snapshot, StateLoader
from worker.ml.training.schedule import StepSchedule
from worker.ml.training.step import Backend, ids_for_gpu, on_device, to_device, train_step
from worker.ml.training.validation import (
    Validator,
    is_validation_due,
    steps_to_validation,
    validation_interval,
)
from worker.ml.training.variables import (
    CheckpointMismatch,
    from_checkpoint,
    initial_variables,
    to_checkpoint,
)
from worker.ml.vectorize import fill, find_holdout, token_counts
from worker.ml.vocabulary import Ids, Vocabulary

Event = TrainingProgress | Validated | IntervalReached | RolledBack


class Trainer:
    """Trains one network on one text.

    A caller that iterates over `run()` may stop between any two events, keep `state()`, and resume
    from it later: on a CPU, the result is the same to the bit.
    """

    def __init__(
        self,
        config: TrainConfig,
        ids: Ids,
        vocabulary: Vocabulary,
        *,
        lowercase: bool = False,
        state: TrainingState | None = None,
        backend: Backend = "xla",
        load_state: StateLoader | None = None,
    ) -> None:
        """Set up a training, from its beginning or from `state`.

        Args:
            config: The training's config.
            ids: The whole text, including the pieces to hold out.
            vocabulary: The meaning of the ids.
            lowercase: Whether the text was lower-cased; stored for generation.
            state: A checkpoint of the same training; it may have had fewer epochs.
            backend: "xla" for a CPU, "keras" for a GPU.
            load_state: Loads the best weights when the loss explodes. The caller must then store
                the state whenever a `Validated` event is `best`. Without it, the best weights are
                kept in memory.

        Raises:
            TooShort: The text does not hold one window to train on and one to validate on.
            CheckpointMismatch: The state has another network, vocabulary or optimizer.
        """
        size = config.network.vocabulary_size
        if len(vocabulary) != size:
            raise CheckpointMismatch(f"{len(vocabulary)} tokens for a network of {size}")
        meta = {} if state is None else state.meta
        self.holdout = find_holdout(meta, config, ids, vocabulary)
        self.config = config
        self.backend: Backend = backend
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self._schedule = StepSchedule(config, self.holdout.parts)
        self.steps_per_epoch = self._schedule.steps_per_epoch
        self._validation_interval = validation_interval(config, self.holdout.parts)
        device = "gpu" if tf.config.get_visible_devices("GPU") else "cpu"
        self._ids = ids_for_gpu(ids) if device == "gpu" else on_device(ids)
        self._step = train_step(config, backend)
        self._item_end = vocabulary.characters.index(ITEM_END) if config.items else None
        lines = None
        if isinstance(self.holdout, Holdout):
            lines = self.holdout.shuffled_lines(ids, vocabulary, config.window)
        self._validator = Validator(
            config, self._step, self._ids, self.holdout, lines, self._item_end
        )
        self._fingerprint = fingerprint(config.threads, config.shards, device)
        loop = meta.get("loop", {})
        self._loop = LoopState.from_dict(loop)
        if config.epochs is not None:
            self._loop.steps_total = round(config.epochs * self.steps_per_epoch)
        self._divergence = DivergenceMonitor(config, loop.get("watch"))
        #: The share of a window's positions that count: of short items, windows are not full.
        self.fill = fill(config, self.holdout.parts)
        #: The step of its first state: 0, or that of the checkpoint that it continues.
        self.start_step = int(meta.get("start_step", 0))
        #: Rollbacks before that step, which don't count towards its own limit.
        self._start_rollbacks = int(meta.get("start_rollbacks", 0))
        if state is None:
            counts = None
            if config.network.tied_embedding:
                counts = token_counts(ids, self.holdout.parts, size)
            variables = initial_variables(config, counts=counts)
        else:
            variables = from_checkpoint(state, config, vocabulary)
        self._variables = to_device(variables, config.network)
        self._rollback = Rollback(config, vocabulary, self.start_step, load_state)
        self._rollback.keep(Snapshot(self.step, self.val_loss, self._variables))
        self._every_steps: int | None = None
        self._budget = None if config.seconds is None else TimeBudget(config.seconds)
        #: Whether all steps so far were computed under one fingerprint. The result is then the
        #: same to the bit as if the training had never stopped.
        same = meta.get("fingerprint") == self._fingerprint
        #: cuDNN promises no bits, so on a GPU nothing is exact.
        self.exact = device == "cpu" and (state is None or (same and bool(meta.get("exact", True))))

    @property
    def step(self) -> int:
        """Steps done."""
        return self._loop.step

    @property
    def steps_total(self) -> int | None:
        """Steps at the end; None while a time budget is measured, before the first event."""
        return self._loop.steps_total

    @property
    def epoch(self) -> float:
        """Epochs done, as a fraction."""
        return self.step / self.steps_per_epoch

    @property
    def epochs(self) -> float | None:
        """Epochs at the end, as a fraction; None while a time budget is measured."""
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
        """The newest validation loss; after a rollback, that of the restored weights."""
        return self._loop.val_loss

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss."""
        return self._loop.best_step

    @property
    def validation_pending(self) -> bool:
        """Whether the last step was rolled back, so that a validation of that step still comes."""
        return self._loop.validation_pending and self.step == self.steps_total

    @property
    def finished(self) -> bool:
        """Whether no step is left, and no validation."""
        total = self.steps_total
        at_end = total is not None and self.step >= total
        return self.stopped_early or (at_end and not self.validation_pending)

    def learning_rate(self, step: int) -> float:
        """The rate of a step, counted from 0."""
        return self._schedule.learning_rate(step, self.steps_total, self._loop.rate_share)

    def run(
        self, every_steps: int | None = None, report_requested: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        """Train to the end, yielding events.

        Args:
            every_steps: Also yield an `IntervalReached` after every this many steps.
            report_requested: Called after each call into the graph; True yields a
                `TrainingProgress` even if none is due.

        Raises:
            Diverged: The loss exploded more often than `rollbacks` allows. The state is lost; the
                checkpoints are not.
        """
        self._every_steps = every_steps
        meter = ProgressMeter(self.config, self.steps_per_epoch)
        while not self.finished:
            try:
                event = self._run_call(meter, report_requested)
            except Diverged as error:
                event = self._roll_back(error)
            if event is not None:
                yield event
            if isinstance(event, Validated | RolledBack):
                meter.restart()

    def state(self) -> TrainingState:
        """The current state, in true shapes."""
        network = self.config.network
        arrays = {name: tensor.numpy() for name, tensor in self._variables.items()}
        weights, training = to_checkpoint(crop(arrays, network), self.config)
        return TrainingState(
            weights=weights,
            training=training,
            network=network,
            characters=self.vocabulary.characters,
            words=self.vocabulary.words,
            word_rules=self.vocabulary.word_rules,
            lowercase=self.lowercase,
            meta={
                "step": self.step,
                "epoch": self.epoch,
                "loss": self._loop.loss,
                "val_loss": self._loop.val_loss,
                "loop": {**self._loop.as_dict(), "watch": self._divergence.as_dict()},
                "start_step": self.start_step,
                "start_rollbacks": self._start_rollbacks,
                "holdout": self.holdout.as_dict(),
                "config": self.config.as_dict(),
                "fingerprint": self._fingerprint,
                "exact": self.exact,
            },
        )

    def _run_call(self, meter: ProgressMeter, report_requested: Callable[[], bool]) -> Event | None:
        """Run the steps of one call; returns their event, if there is one."""
        if self.validation_pending:
            return self._validate()
        if self._budget is not None and self.steps_total is None:
            self._budget.start()
        meter.add(*self._train_steps(meter.steps_per_call))
        if self.steps_total is None:
            self._set_steps_total(meter)
            if self.steps_total is None:
                return None
            if self.step >= self._validation_interval:
                # One validation stands in for those skipped while the speed was measured.
                return self._validate()
        due = is_validation_due(self.step, self._validation_interval, self.steps_per_epoch)
        if due or self.step == self.steps_total:
            return self._validate()
        if self._every_steps is not None and self.step % self._every_steps == 0:
            return IntervalReached(self.step)
        if not (meter.due or report_requested()):
            return None
        return meter.progress(self.step, self.steps_total, self._loop.rate_share)

    def _train_steps(
        self, most: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], float]:
        """Run up to `most` steps in one call; returns losses, windows per step, and seconds."""
        interval = self._validation_interval
        most = min(most, steps_to_validation(self.step, interval, self.steps_per_epoch))
        if self._every_steps is not None:
            most = min(most, self._every_steps - self.step % self._every_steps)
        starts = self._schedule.starts(self.step, most, self.steps_total)
        steps = range(self.step, self.step + len(starts))
        numbers = self._schedule.numbers(steps, self.steps_total, self._loop.rate_share)
        started = time.perf_counter()
        self._variables, losses = self._step.train(
            self._variables,
            self._ids,
            starts,
            numbers,
            step_masks(self.config, steps),
            self._item_end,
        )
        seconds = time.perf_counter() - started
        windows = (starts >= 0).sum(axis=1)
        for step, loss, count in zip(steps, losses.tolist(), windows.tolist(), strict=True):
            # Count step by step, so that nothing depends on how many steps a call took.
            self._loop.record_step(step, loss, count)
            self._divergence.add(step, loss)
        return losses, windows, seconds

    def _validate(self) -> Validated:
        found = self._validator.evaluate(self._variables)
        if not np.isfinite(found.loss):
            raise Diverged(self.step, found.loss)
        best = self._loop.record_validation(self.config, found.loss)
        if best:
            self._rollback.keep(Snapshot(self.step, found.loss, self._variables))
        loss = self._loop.loss or 0.0
        measured = (self.step, loss, found.loss, found.accuracy, best, found.pieces)
        epoch, within = divmod(self.step, self.steps_per_epoch)
        return Validated(self.epoch, *measured) if within else EpochEnd(epoch, *measured)

    def _set_steps_total(self, meter: ProgressMeter) -> None:
        """Turn the time budget into a number of steps, once the speed is measured."""
        if self._budget is None or not self._budget.has_measured(meter):
            return
        seconds = self._validator.estimate_seconds(self._variables)
        more = self._budget.remaining_steps(meter, seconds, self._validation_interval)
        self._loop.steps_total = self.step + more

    def _roll_back(self, error: Diverged) -> RolledBack:
        """Restore the best weights with half the rate; raises `error` if the limit is reached."""
        if self._loop.rollbacks - self._start_rollbacks >= self.config.rollbacks:
            raise error
        snapshot = self._rollback.find(self.best_step)
        if snapshot is None:
            raise error
        self._variables = snapshot.variables
        self._divergence = DivergenceMonitor(self.config)
        self._loop.record_rollback(snapshot.val_loss)
        rate, count = self.learning_rate(self.step), self._loop.rollbacks - self._start_rollbacks
        return RolledBack(self.step, error.loss, snapshot.step, rate, count)
