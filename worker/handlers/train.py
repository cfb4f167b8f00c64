"""Runs a `train` job: corpus in, checkpoints, loss curve and texts out."""

from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import aliased

from shared.database import reading
from shared.queue import Queue
from shared.queue.types import TextRecord
from shared.specs.presets import TrainSpec
from shared.tables import Checkpoint as CheckpointRow
from shared.tables import Corpus, Model
from worker.data import checkpoints, corpora
from worker.data.corpora import Corpora
from worker.data.model_cache import Processor, backend_of
from worker.execution.failures import CheckpointGone, CorpusDeleted, ModelDeleted, OtherVocabulary
from worker.execution.lease import Lease
from worker.handlers.training_run import Training
from worker.ml.checkpoint import TrainingState, fingerprint
from worker.ml.config import TrainConfig
from worker.ml.training.trainer import Trainer
from worker.ml.training.transfer import can_continue, extend_epochs, initial_state
from worker.ml.vectorize import (
    characters_per_token,
    encode_pieces,
    split_held_out,
    steps_per_epoch,
)
from worker.ml.vocabulary import Ids, UnknownCharacter, Vocabulary
from worker.ml.words import blocks, frequent_words

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """The checkpoint that a training begins from, where it does not begin anew.

    Attributes:
        id: The checkpoint's.
        job_id: The training that wrote it.
        step: Of that training.
        sha256: Of the checkpoint's bytes.
        judged: Whether it has a validation loss.
        corpus_sha256: The text it was trained on.
        lowercase: Whether that was lower-cased.
    """

    id: str
    job_id: str
    step: int
    sha256: str
    judged: bool
    corpus_sha256: str
    lowercase: bool


class Train:
    """Trains, in one process after another if need be.

    Args:
        queue: Where the facts are written.
        corpora: The texts, where copies from them are looked for.
        processor: What TensorFlow runs on.
        threads: TensorFlow's threads in this process; fixed when it started.
    """

    def __init__(self, queue: Queue, corpora: Corpora, processor: Processor, threads: int) -> None:
        self._queue = queue
        self._corpora = corpora
        self._processor: Processor = processor
        self._threads = threads

    def __call__(self, lease: Lease) -> tuple[TextRecord, ...]:
        """Train a job to its end, from its newest checkpoint if it has one."""
        spec = TrainSpec.model_validate(lease.claim.spec)
        characters, origin = self._model(lease)
        state = resumed = self._newest_state(lease)
        before = None
        if state is None and origin is not None:
            before = checkpoints.load(self._queue.engine, origin.sha256)
        vocabulary, ids, corpus_sha256 = self._read(lease, spec, characters, state or before)
        config = TrainConfig.from_spec(spec.model_dump(), len(vocabulary))
        if config.threads != self._threads:
            if resumed is None:
                # A resume tells what differs from the process before it.
                asked = {"asked": config.threads, "got": self._threads}
                self._tell(lease, "inexact", threads=asked)
            config = replace(config, threads=self._threads)
        if origin is not None and before is not None:
            same_text = (corpus_sha256, spec.lowercase) == (origin.corpus_sha256, origin.lowercase)
            state = self._begin(lease, config, vocabulary, origin, before, same_text=same_text)
        if state is not None:
            learnt_from, _tail = split_held_out(ids, config)
            config = extend_epochs(state, config, steps_per_epoch(config, len(learnt_from)))
        trainer = Trainer(
            config,
            ids,
            vocabulary,
            lowercase=spec.lowercase,
            state=state,
            backend=backend_of(self._processor),
            # Only a training that goes on counts its steps from its origin's.
            load_state=lambda step: self._recall(
                lease, origin if trainer.start_step else None, step
            ),
        )
        trainer.exact &= spec.threads == self._threads
        per_token = characters_per_token(vocabulary, ids, config)
        if spec.tokenizer == "word":
            size = len(vocabulary)
            lease.persist(lambda: self._queue.record_vocabulary(lease.claim, size, per_token))
        index = None
        if spec.sample is not None:
            index = self._corpora.index(lease.claim.corpus_id, lowercase=spec.lowercase)
        training = Training(
            self._queue, lease, spec, trainer, ids, self._processor, per_token, index
        )
        if state is not None and (other := _differences(state, config, self._processor)):
            self._tell(lease, "inexact", **other)
        if resumed is not None:
            self._tell(lease, "resumed", step=trainer.step, epoch=trainer.epoch)
            training.make_up_texts(resumed)
        training.run()
        return ()

    def _model(self, lease: Lease) -> tuple[str, Origin | None]:
        with reading(self._queue.engine) as connection:
            row = connection.execute(
                select(Model.vocabulary, Model.from_checkpoint_id).where(
                    Model.id == lease.claim.model_id
                )
            ).one_or_none()
            if row is None:
                raise ModelDeleted
            characters: str = row.vocabulary
            if row.from_checkpoint_id is None:
                return characters, None
            of = aliased(Model)
            found = connection.execute(
                select(
                    CheckpointRow.id,
                    CheckpointRow.job_id,
                    CheckpointRow.step,
                    CheckpointRow.sha256,
                    CheckpointRow.val_loss.is_not(None).label("judged"),
                    Corpus.sha256.label("corpus_sha256"),
                    of.spec,
                )
                .join(of, CheckpointRow.model_id == of.id)
                .join(Corpus, of.corpus_id == Corpus.id)
                .where(CheckpointRow.id == row.from_checkpoint_id)
            ).one_or_none()
        if found is None:
            # It is needed only until the training has a checkpoint of its own.
            if next(checkpoints.newest_first(self._queue.engine, lease.claim.job_id), None):
                return characters, None
            raise CheckpointGone(row.from_checkpoint_id)
        return characters, Origin(
            found.id,
            found.job_id,
            found.step,
            found.sha256,
            bool(found.judged),
            found.corpus_sha256,
            found.spec["lowercase"],
        )

    def _read(
        self, lease: Lease, spec: TrainSpec, characters: str, state: TrainingState | None
    ) -> tuple[Vocabulary, Ids, str]:
        """The vocabulary, the text's ids, and what names its bytes.

        The words are those that the training began with; before its first checkpoint they are
        found anew, the same for the same text.
        """
        corpus = self._stream(lease, spec)
        vocabulary, pieces = Vocabulary(characters), corpus.pieces
        if spec.tokenizer == "word":
            if state is None:
                # Read twice, once to choose the words: so it is never held as a whole.
                words = frequent_words(pieces, spec.vocabulary_limit)
                corpus = self._stream(lease, spec)
            else:
                words = state.words
            vocabulary, pieces = Vocabulary(characters, words), blocks(corpus.pieces)
        try:
            ids = encode_pieces(vocabulary, pieces, corpus.characters)
        except UnknownCharacter as error:
            raise OtherVocabulary(error.character, error.position) from None
        return vocabulary, ids, corpus.sha256

    def _stream(self, lease: Lease, spec: TrainSpec) -> corpora.Streamed:
        corpus_id = lease.claim.corpus_id
        corpus = corpora.stream(self._queue.engine, corpus_id, lowercase=spec.lowercase)
        if corpus is None:
            raise CorpusDeleted("train")
        return corpus

    def _begin(
        self,
        lease: Lease,
        config: TrainConfig,
        vocabulary: Vocabulary,
        origin: Origin,
        before: TrainingState,
        *,
        same_text: bool,
    ) -> TrainingState:
        """Keep what the training begins from as its own first checkpoint."""
        here = fingerprint(config.threads, config.shards, self._processor)
        state = initial_state(
            before,
            config,
            vocabulary,
            here,
            lowercase=bool(lease.claim.spec["lowercase"]),
            same_text=same_text,
        )
        on = same_text and can_continue(before, config)
        checkpoints.save(self._queue, lease, state, judged=on and origin.judged)
        step = state.meta["step"]
        self._tell(lease, "began_from", checkpoint=origin.id, step=step, goes_on=on)
        return state

    def _newest_state(self, lease: Lease) -> TrainingState | None:
        for saved in checkpoints.newest_first(self._queue.engine, lease.claim.job_id):
            state = self._load(lease, saved)
            if state is not None:
                return state
        return None

    def _recall(self, lease: Lease, origin: Origin | None, step: int) -> TrainingState | None:
        """The checkpoint of a step, or the best of the job's own that can be used."""
        jobs = [lease.claim.job_id, *([] if origin is None else [origin.job_id])]
        saved = checkpoints.at_step(self._queue.engine, jobs, step)
        if saved is not None and (state := self._load(lease, saved)) is not None:
            return state
        for saved in checkpoints.best_first(self._queue.engine, lease.claim.job_id):
            if saved.step != step and (state := self._load(lease, saved)) is not None:
                return state
        return None

    def _load(self, lease: Lease, saved: checkpoints.Saved) -> TrainingState | None:
        try:
            return checkpoints.load(self._queue.engine, saved.sha256)
        except checkpoints.UNUSABLE as error:
            log.error("checkpoint_unusable", checkpoint=saved.id, reason=str(error))
            self._tell(lease, "checkpoint_unusable", step=saved.step, reason=str(error))
        return None

    def _tell(self, lease: Lease, kind: str, **data: object) -> None:
        lease.persist(lambda: self._queue.record_event(lease.claim, kind, **data))


def _differences(state: TrainingState, config: TrainConfig, processor: Processor) -> dict[str, Any]:
    """What the checkpoint was computed with and this process is not: ``{name: {was, is}}``."""
    here = fingerprint(config.threads, config.shards, processor)
    there = state.meta.get("fingerprint") or {}
    return {
        name: {"was": there.get(name), "is": value}
        for name, value in here.items()
        if there.get(name) != value
    }
