"""One attempt at a `train` job: drives a trainer, and records its progress and checkpoints."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import structlog

from shared.queue import Queue
from shared.queue.types import ProgressReport
from worker.execution.lease import Lease
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.handlers.aside import Aside
from worker.handlers.job_history import record_event
from worker.handlers.training_checkpoints import TrainingCheckpoints
from worker.handlers.training_texts import DueTexts, TrainingTexts
from worker.ml.checkpoint import TrainingState
from worker.ml.training.progress import (
    EpochEnd,
    IntervalReached,
    RolledBack,
    TrainingProgress,
    Validated,
)
from worker.ml.training.trainer import Trainer

#: How often a training reports its progress.
PROGRESS_SECONDS = 1.0
#: The most training time that is lost when a worker dies.
CHECKPOINT_SECONDS = 60.0

log = structlog.get_logger(__name__)


class TrainingRun:
    """One attempt at a training.

    Args:
        queue: The queue.
        lease: The job's lease.
        trainer: What trains, from its beginning or from a checkpoint.
        checkpoints: The job's checkpoints.
        texts: The job's sampled texts.
        aside: Where all of it is written, while the trainer goes on.
        characters_per_token: In the held-out pieces.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        trainer: Trainer,
        checkpoints: TrainingCheckpoints,
        texts: TrainingTexts,
        aside: Aside,
        characters_per_token: float,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._trainer = trainer
        self._checkpoints = checkpoints
        self._texts = texts
        self._aside = aside
        self._characters_per_token = characters_per_token
        self._reported_at = 0.0
        self._validated_at = self._saved_at = time.monotonic()
        self._validated_step = self._saved_step = trainer.step

    def run(self) -> None:
        """Train to the last step. What is written last may still be under way then.

        Raises:
            LeaseLost: Another attempt may have the job.
            CancelRequested: The owner has cancelled the job.
            DeadlineReached: The deadline has passed; a checkpoint holds everything up to here, once
                `aside` is done.
            Interrupted: The job goes on later, from such a checkpoint.
            Diverged: The loss exploded too often; the best checkpoint is kept.
        """
        # Without the second argument a stop would wait for the next report.
        for event in self._trainer.run(self._texts.every_steps, lambda: self._lease.must_stop):
            match event:
                case Validated():
                    self._on_validated(event)
                case RolledBack():
                    self._on_rolled_back(event)
                    if self._trainer.validation_pending:
                        # That is the next event, which stores the step's one checkpoint.
                        continue
                case IntervalReached():
                    self._on_texts_due()
                case TrainingProgress():
                    self._on_progress(event)
            if self._lease.must_save and self._saved_step != self._trainer.step:
                self._save(validated=False)
            self._lease.check()
        if self._trainer.stopped_early:
            self._record(
                "stopped_early",
                step=self._trainer.step,
                best_step=self._trainer.best_step,
                patience=self._trainer.config.patience,
            )

    def resume(self, state: TrainingState) -> None:
        """Record the resume, and write the texts that the earlier attempt did not get to.

        Args:
            state: The checkpoint that the training resumes from.
        """
        step = self._trainer.step
        self._record("resumed", step=step, epoch=self._trainer.epoch)
        due = self._texts.due()
        if due is None or not self._texts.are_missing(due):
            return
        if (stored := self._checkpoints.find(step)) is not None:
            self._texts.write(due, state, stored.id)

    def _on_progress(self, event: TrainingProgress) -> None:
        if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
            report = self._report(
                event.step,
                event.epoch,
                event.loss,
                event.learning_rate,
                event.tokens_per_second,
                event.seconds_left,
            )
            # One that finds no room is replaced by the next.
            self._aside.offer(partial(self._write_report, report))
        if time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
            self._save(validated=False)

    def _on_texts_due(self) -> None:
        """Write the texts of a step between two validations; they cite no checkpoint."""
        started = time.monotonic()
        if (due := self._texts.due()) is not None:
            self._aside.run(partial(self._texts.write, due, self._trainer.state(), None))
        # The reported speed is that of the steps alone.
        self._validated_at += time.monotonic() - started

    def _on_validated(self, event: Validated) -> None:
        trainer, config = self._trainer, self._trainer.config
        seconds = time.monotonic() - self._validated_at
        steps = event.step - self._validated_step
        steps_left = 0 if trainer.finished else (trainer.steps_total or event.step) - event.step
        report = self._report(
            event.step,
            event.epoch,
            event.loss,
            trainer.learning_rate(event.step - 1),
            steps * config.batch_size * config.window / seconds,
            steps_left * seconds / steps,
        )
        self._aside.run(partial(self._write_report, report, piece_losses=event.piece_losses))
        log.info(
            "epoch_ended" if isinstance(event, EpochEnd) else "validated",
            epoch=event.epoch,
            epochs=trainer.epochs,
            loss=round(event.loss, 4),
            val_loss=round(event.val_loss, 4),
            best=event.best,
            seconds=round(seconds, 1),
        )
        self._save(validated=True, due=self._texts.due())
        self._validated_at, self._validated_step = time.monotonic(), event.step

    def _on_rolled_back(self, event: RolledBack) -> None:
        loss = event.loss if math.isfinite(event.loss) else str(event.loss)
        record = partial(
            self._record,
            "rolled_back",
            step=event.step,
            loss=loss,
            back_to=event.back_to,
            learning_rate=event.learning_rate,
            rollbacks=event.rollbacks,
        )
        if self._trainer.validation_pending:
            # An attempt that dies before the validation leaves this event without a checkpoint.
            self._aside.run(record)
        else:
            # No other event comes for this step, so texts that are due at it are written now.
            self._save(validated=False, due=self._texts.due(), then=record)
        log.warning("rolled_back", step=event.step, loss=loss, back_to=event.back_to)

    def _save(
        self,
        *,
        validated: bool,
        due: DueTexts | None = None,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Store the trainer's state.

        Args:
            validated: Whether its validation loss was measured with these very weights.
            due: Texts of this step, which cite the checkpoint.
            then: Called once the checkpoint is stored, before the texts are written.
        """
        state = self._trainer.state()

        def store() -> None:
            checkpoint_id = self._checkpoints.save(state, validated=validated)
            then()
            if due is not None:
                self._texts.write(due, state, checkpoint_id)

        self._aside.run(store)
        self._saved_at, self._saved_step = time.monotonic(), state.meta["step"]

    def _record(self, kind: str, **data: object) -> None:
        record_event(self._queue, self._lease, kind, **data)

    def _report(
        self,
        step: int,
        epoch: float,
        loss: float,
        rate: float,
        tokens_per_second: float,
        seconds_left: float,
    ) -> ProgressReport:
        trainer = self._trainer
        self._reported_at = time.monotonic()
        return ProgressReport(
            step=step,
            steps_total=trainer.steps_total or step,
            epoch=epoch,
            epochs=epoch if trainer.epochs is None else trainer.epochs,
            loss=loss,
            val_loss=trainer.val_loss,
            learning_rate=rate,
            characters_per_second=tokens_per_second * trainer.fill * self._characters_per_token,
            seconds_left=seconds_left,
            bits_per_char=self._bits_per_char,
        )

    def _write_report(
        self, report: ProgressReport, *, piece_losses: tuple[float | None, ...] | None = None
    ) -> None:
        """Record the progress; the losses of the pieces are given after a validation."""
        try:
            validated = piece_losses is not None
            self._queue.record_progress(
                self._lease.claim, report, validated=validated, piece_losses=piece_losses
            )
            self._lease.publish("metrics", **asdict(report), judged=validated)
        except DATABASE_AWAY as error:
            # The next report replaces this one; nothing of the training depends on it.
            log.warning("progress_not_written", reason=driver_message(error))

    @property
    def _bits_per_char(self) -> float | None:
        if self._trainer.val_loss is None:
            return None
        return self._trainer.val_loss / self._characters_per_token / math.log(2)
