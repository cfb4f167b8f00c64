"""Samples texts while a network trains, at the steps that the spec asks for."""

import re
from dataclasses import dataclass

from shared.queue import Queue
from shared.queue.types import TextRecord
from shared.specs.seeds import text_seed
from shared.specs.training import SampleSpec, TrainSpec
from worker.data import checkpoints
from worker.data.corpora import novelty, random_slice
from worker.data.model_cache import Processor, make_sampler
from worker.execution.lease import Lease
from worker.ml.checkpoint import TrainingState
from worker.ml.config import ITEM_BEGIN, ITEM_END
from worker.ml.novelty import NoveltyIndex
from worker.ml.sampling.request import SamplingRequest
from worker.ml.training.trainer import Trainer
from worker.ml.vocabulary import Ids


@dataclass(frozen=True, slots=True)
class DueTexts:
    """Texts to sample from the weights of one step.

    Attributes:
        sample: What the spec asks for.
        number: Seeds them: the epoch, or the step between two epochs.
        step: The step.
        epoch: The same as a fraction of epochs.
    """

    sample: SampleSpec
    number: int
    step: int
    epoch: float


class TrainingTexts:
    """Samples a training's texts and stores them.

    Args:
        queue: The queue.
        lease: The job's lease.
        spec: The job's spec.
        trainer: The training.
        ids: The corpus, from which prompts are taken.
        processor: What TensorFlow runs on.
        index: Finds what a text copies from the corpus; None if the corpus has no index.
        trainer_waits: Whether the trainer stands still while texts are written. If it does not,
            texts that were begun are finished though the job is to go on later: by then it would
            be past their step.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        spec: TrainSpec,
        trainer: Trainer,
        ids: Ids,
        processor: Processor,
        index: NoveltyIndex | None,
        *,
        trainer_waits: bool = True,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._spec = spec
        self._trainer = trainer
        self._ids = ids
        self._processor: Processor = processor
        self._index = index
        self._trainer_waits = trainer_waits

    @property
    def every_steps(self) -> int | None:
        """Steps between two samplings, besides those at the ends of epochs."""
        return None if self._spec.sample is None else self._spec.sample.every_steps

    def are_missing(self, due: DueTexts) -> bool:
        """Whether due texts are not stored yet."""
        job_id = self._lease.claim.job_id
        return not checkpoints.has_texts(self._queue.engine, job_id, due.step)

    def due(self) -> DueTexts | None:
        """The texts that are due at the trainer's step; None if there are none.

        At the end of an epoch the epoch is their number, at the training's end the last epoch,
        and in between the step.
        """
        sample, trainer = self._spec.sample, self._trainer
        if sample is None or trainer.step <= trainer.start_step:
            return None
        epoch, within = divmod(trainer.step, trainer.steps_per_epoch)
        steps = (trainer.steps_total or trainer.step) - trainer.start_step
        if sample.due(trainer.step, trainer.steps_per_epoch, steps):
            number = trainer.step if within else epoch
        elif trainer.finished:
            number = epoch + bool(within)
        else:
            return None
        return DueTexts(sample, number, trainer.step, trainer.epoch)

    def write(self, due: DueTexts, state: TrainingState, checkpoint_id: str | None) -> None:
        """Sample texts and store them, unless the training is to stop before.

        They share one prompt from the corpus and differ in temperature. The trainer may be steps
        ahead meanwhile.

        Args:
            due: The texts.
            state: The weights of their step.
            checkpoint_id: The checkpoint that the texts cite; None if there is none of this step.

        Raises:
            LeaseLost: Nothing was stored.
        """
        if self._must_stop():
            return
        requests = self._requests(due.sample, due.number, state.network.window)
        sampler = make_sampler(state.weights, state.network, self._processor)
        written = sampler.generate(requests, self._must_stop)
        if self._must_stop():
            return
        texts = [
            self._record(position, request, state.vocabulary.decode(ids), due, checkpoint_id)
            for position, (request, ids) in enumerate(zip(requests, written, strict=True))
        ]
        self._lease.persist(lambda: self._queue.record_texts(self._lease.claim, texts))
        self._lease.publish("texts", step=due.step)

    def _must_stop(self) -> bool:
        lease = self._lease
        return lease.must_stop if self._trainer_waits else lease.must_abandon

    def _requests(
        self, sample: SampleSpec, number: int, window: int | None
    ) -> list[SamplingRequest]:
        seeds = [text_seed(self._spec.seed, j, number) for j in range(len(sample.temperatures))]
        prompt = self._ids[random_slice(len(self._ids), seeds[0], window)].copy()
        if self._spec.items:
            prompt = self._trainer.vocabulary.encode(ITEM_BEGIN)
        return [
            SamplingRequest(prompt, sample.length, temperature, None, None, seed)
            for temperature, seed in zip(sample.temperatures, seeds, strict=True)
        ]

    def _record(
        self,
        position: int,
        request: SamplingRequest,
        text: str,
        due: DueTexts,
        checkpoint_id: str | None,
    ) -> TextRecord:
        written, marks = text, re.search(f"[{ITEM_BEGIN}{ITEM_END}]", text)
        if self._spec.items and marks is not None:
            written = text[: marks.start()]
        return TextRecord(
            position=position,
            prompt="" if self._spec.items else self._trainer.vocabulary.decode(request.prompt),
            text=written,
            temperature=request.temperature,
            top_k=None,
            top_p=None,
            seed=request.seed,
            finish_reason="length" if written == text else "end",
            checkpoint_id=checkpoint_id,
            requested=False,
            step=due.step,
            epoch=due.epoch,
            **novelty(self._index, written),
        )
