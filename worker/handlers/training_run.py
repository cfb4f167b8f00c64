"""One attempt at a training: drives a trainer and writes down what it says."""

import math
import time
from dataclasses import asdict

import structlog

from shared.queue import Queue
from shared.queue.types import ProgressReport, TextRecord
from shared.specs.presets import TrainSpec
from shared.specs.seeds import text_seed
from worker.data import checkpoints
from worker.data.corpora import novelty, random_place
from worker.data.model_cache import Processor, make_sampler
from worker.execution.lease import DATABASE_AWAY, Lease, reason
from worker.ml.checkpoint import Checkpoint
from worker.ml.novelty import NoveltyIndex
from worker.ml.sampling.sampler import SamplingRequest
from worker.ml.training.progress import EpochEnd, Judged, Mark, RolledBack
from worker.ml.training.progress import Progress as Moment
from worker.ml.training.trainer import Trainer
from worker.ml.vocabulary import Ids

#: How often a training tells where it is.
PROGRESS_SECONDS = 1.0
#: At most this much of a training is lost when its worker dies.
CHECKPOINT_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Training:
    """One attempt.

    Args:
        queue: Where the facts are written.
        lease: The job's.
        spec: What was asked for.
        trainer: What trains, from its beginning or from a checkpoint.
        ids: The text.
        processor: What TensorFlow runs on.
        characters_per_token: Of the held-out tail.
        index: Where copies from the text are looked for; None where none are.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        spec: TrainSpec,
        trainer: Trainer,
        ids: Ids,
        processor: Processor,
        characters_per_token: float,
        index: NoveltyIndex | None,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._spec = spec
        self._trainer = trainer
        self._ids = ids
        self._processor: Processor = processor
        self._characters_per_token = characters_per_token
        self._index = index
        self._told_at = 0.0
        self._judged_at = self._saved_at = time.monotonic()
        self._judged_step = self._saved_step = trainer.step

    def run(self) -> None:
        """Train to the last step.

        Raises:
            LeaseLost: As the lease says.
            CancelRequested: As the lease says.
            DeadlineReached: As the lease says; everything up to here is in a checkpoint.
            PutDown: As the lease says; everything up to here is in a checkpoint.
            Diverged: The loss exploded too often; the best checkpoint is kept.
        """
        sample = self._spec.sample
        marks = None if sample is None else sample.every_steps
        # Between two reports a stop would wait for the next one.
        for event in self._trainer.run(marks, lambda: self._lease.must_stop):
            if isinstance(event, Judged):
                self._judged(event)
            elif isinstance(event, RolledBack):
                self._rolled_back(event)
            elif isinstance(event, Mark):
                self._marked()
            else:
                self._moved(event)
            if self._lease.must_save and self._saved_step != self._trainer.step:
                self._save(judged=False)
            self._lease.check()
        if self._trainer.stopped_early:
            self._record(
                "stopped_early",
                step=self._trainer.step,
                best_step=self._trainer.best_step,
                patience=self._trainer.config.patience,
            )

    def make_up_texts(self, state: Checkpoint) -> None:
        """Write the texts of a step that was saved just before its worker died."""
        claim, step = self._lease.claim, self._trainer.step
        if self._text_number() is None or checkpoints.has_texts(
            self._queue.engine, claim.job_id, step
        ):
            return
        saved = checkpoints.at_step(self._queue.engine, [claim.job_id], step)
        if saved is not None:
            self._write_texts(state, saved.id)

    def _moved(self, event: Moment) -> None:
        if time.monotonic() - self._told_at >= PROGRESS_SECONDS:
            self._tell(
                event.step,
                event.epoch,
                event.loss,
                event.learning_rate,
                event.tokens_per_second,
                event.seconds_left,
            )
        if time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
            self._save(judged=False)

    def _marked(self) -> None:
        """Write the texts of a step between two validations; they cite no checkpoint."""
        started = time.monotonic()
        self._write_texts(self._trainer.state(), None)
        # The speed that is told is that of the steps.
        self._judged_at += time.monotonic() - started

    def _judged(self, event: Judged) -> None:
        trainer, config = self._trainer, self._trainer.config
        seconds = time.monotonic() - self._judged_at
        steps = event.step - self._judged_step
        left = 0 if trainer.finished else (trainer.steps_total or event.step) - event.step
        self._tell(
            event.step,
            event.epoch,
            event.loss,
            trainer.learning_rate(event.step - 1),
            steps * config.batch_size * config.window / seconds,
            left * seconds / steps,
            judged=True,
        )
        log.info(
            "epoch_ended" if isinstance(event, EpochEnd) else "judged",
            epoch=event.epoch,
            epochs=trainer.epochs,
            loss=round(event.loss, 4),
            val_loss=round(event.val_loss, 4),
            best=event.best,
            seconds=round(seconds, 1),
        )
        state, checkpoint_id = self._save(judged=True)
        self._write_texts(state, checkpoint_id)
        self._judged_at, self._judged_step = time.monotonic(), event.step

    def _rolled_back(self, event: RolledBack) -> None:
        state, checkpoint_id = self._save(judged=False)
        loss = event.loss if math.isfinite(event.loss) else str(event.loss)
        self._record(
            "rolled_back",
            step=event.step,
            loss=loss,
            back_to=event.back_to,
            learning_rate=event.learning_rate,
            rollbacks=event.rollbacks,
        )
        log.warning("rolled_back", step=event.step, loss=loss, back_to=event.back_to)
        # Those that are due at this very step: no other event will tell of it.
        self._write_texts(state, checkpoint_id)

    def _save(self, *, judged: bool) -> tuple[Checkpoint, str]:
        state = self._trainer.state()
        checkpoint_id = checkpoints.save(self._queue, self._lease, state, judged=judged)
        self._saved_at, self._saved_step = time.monotonic(), self._trainer.step
        return state, checkpoint_id

    def _record(self, kind: str, **data: object) -> None:
        self._lease.persist(lambda: self._queue.record_event(self._lease.claim, kind, **data))

    def _tell(
        self,
        step: int,
        epoch: float,
        loss: float,
        rate: float,
        tokens_per_second: float,
        seconds_left: float,
        *,
        judged: bool = False,
    ) -> None:
        trainer = self._trainer
        progress = ProgressReport(
            step=step,
            steps_total=trainer.steps_total or step,
            epoch=epoch,
            epochs=epoch if trainer.epochs is None else trainer.epochs,
            loss=loss,
            val_loss=trainer.val_loss,
            learning_rate=rate,
            characters_per_second=tokens_per_second * self._characters_per_token,
            seconds_left=seconds_left,
            bits_per_char=self._bits_per_char,
        )
        self._told_at = time.monotonic()
        try:
            self._queue.record_progress(self._lease.claim, progress, validated=judged)
            self._lease.say("metrics", **asdict(progress), judged=judged)
        except DATABASE_AWAY as error:
            # The next one will tell; nothing of the training depends on it.
            log.warning("progress_not_written", reason=reason(error))

    @property
    def _bits_per_char(self) -> float | None:
        if self._trainer.val_loss is None:
            return None
        return self._trainer.val_loss / self._characters_per_token / math.log(2)

    def _text_number(self) -> int | None:
        """What decides the seeds of the texts that are due now; None where none are.

        The epoch at its end, and at the training's end the last one's; between them the step.
        """
        sample, trainer = self._spec.sample, self._trainer
        if sample is None or trainer.step <= trainer.start_step:
            return None
        epoch, within = divmod(trainer.step, trainer.steps_per_epoch)
        steps = (trainer.steps_total or trainer.step) - trainer.start_step
        if sample.due(trainer.step, trainer.steps_per_epoch, steps):
            return trainer.step if within else epoch
        return epoch + bool(within) if trainer.finished else None

    def _write_texts(self, state: Checkpoint, checkpoint_id: str | None) -> None:
        """Sample as the spec asks: one piece of the corpus, every temperature."""
        sample, number, trainer = self._spec.sample, self._text_number(), self._trainer
        if sample is None or number is None or self._lease.must_stop:
            return
        seeds = [text_seed(self._spec.seed, j, number) for j in range(len(sample.temperatures))]
        place = random_place(len(self._ids), seeds[0], state.network.window)
        prompt_ids = self._ids[place].copy()
        drafts = [
            SamplingRequest(prompt_ids, sample.length, temperature, None, None, seed)
            for temperature, seed in zip(sample.temperatures, seeds, strict=True)
        ]
        sampler = make_sampler(state.weights, state.network, self._processor)
        written = sampler.write(drafts, lambda: self._lease.must_stop)
        if self._lease.must_stop:
            return
        prompt = trainer.vocabulary.decode(prompt_ids)
        decoded = map(trainer.vocabulary.decode, written)
        texts = [
            TextRecord(
                position=position,
                prompt=prompt,
                text=text,
                temperature=draft.temperature,
                top_k=None,
                top_p=None,
                seed=draft.seed,
                finish_reason="length",
                checkpoint_id=checkpoint_id,
                requested=False,
                step=trainer.step,
                epoch=trainer.epoch,
                **novelty(self._index, text),
            )
            for position, (draft, text) in enumerate(zip(drafts, decoded, strict=True))
        ]
        self._lease.persist(lambda: self._queue.record_texts(self._lease.claim, texts))
        self._lease.say("texts", step=trainer.step)
