"""Runs a `train` job: a corpus becomes checkpoints, a loss curve and sampled texts."""

from dataclasses import dataclass, replace
from typing import Any

from shared.queue import Queue
from shared.queue.types import TextRecord
from shared.specs.training import TrainSpec
from worker.data import checkpoints, corpora
from worker.data.corpora import Corpora
from worker.data.model_cache import Processor, backend_of
from worker.execution.failures import CorpusDeleted, VocabularyMismatch
from worker.execution.lease import Lease
from worker.handlers.aside import Aside
from worker.handlers.job_history import record_event
from worker.handlers.starting_point import StartingPoint, read_model
from worker.handlers.training_checkpoints import TrainingCheckpoints
from worker.handlers.training_run import TrainingRun
from worker.handlers.training_texts import TrainingTexts
from worker.ml.checkpoint import TrainingState, fingerprint
from worker.ml.config import TrainConfig
from worker.ml.training.trainer import Trainer
from worker.ml.training.transfer import can_continue, extend_epochs, initial_state
from worker.ml.vectorize import (
    characters_per_token,
    encode_pieces,
    find_holdout,
    steps_per_epoch,
)
from worker.ml.vocabulary import Ids, UnknownCharacter, Vocabulary
from worker.ml.words import NEWEST_RULES, blocks, frequent_words


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What an attempt reads before it trains.

    Attributes:
        spec: The job's spec.
        checkpoints: The job's checkpoints.
        resumed: The newest of them, with its arrays; None in a first attempt.
        start: Another training's checkpoint to start from; None if there is none.
        start_state: Its arrays; None if the attempt resumes.
        vocabulary: What the ids mean.
        ids: The corpus.
        corpus_sha256: Names the corpus's bytes.
    """

    spec: TrainSpec
    checkpoints: TrainingCheckpoints
    resumed: TrainingState | None
    start: StartingPoint | None
    start_state: TrainingState | None
    vocabulary: Vocabulary
    ids: Ids
    corpus_sha256: str


class Train:
    """The handler of `train` jobs. A job may take several attempts, each in another process.

    Args:
        queue: The queue.
        corpora: The texts, for their novelty indexes.
        processor: What TensorFlow runs on.
        threads: TensorFlow's threads in this process; fixed when it started.
        aside: Whether checkpoints, texts and reports are written by another thread; by default on
            a GPU, which would idle meanwhile. A CPU has no core to spare for it.
    """

    def __init__(
        self,
        queue: Queue,
        corpora: Corpora,
        processor: Processor,
        threads: int,
        *,
        aside: bool | None = None,
    ) -> None:
        self._queue = queue
        self._corpora = corpora
        self._processor: Processor = processor
        self._threads = threads
        self._aside = processor == "gpu" if aside is None else aside

    def __call__(self, lease: Lease) -> tuple[TextRecord, ...]:
        """Train a job to its end, from its newest checkpoint if it has one."""
        inputs = self._load(lease)
        with Aside("training-aside", inline=not self._aside) as aside:
            trainer = self._build_trainer(lease, inputs, aside)
            self._run(lease, inputs, trainer, aside)
        return ()

    def _load(self, lease: Lease) -> _Inputs:
        spec = TrainSpec.model_validate(lease.claim.spec)
        alphabet, start = read_model(self._queue.engine, lease.claim)
        own_checkpoints = TrainingCheckpoints(self._queue, lease)
        resumed, start_state = own_checkpoints.newest(), None
        if resumed is None and start is not None:
            start_state = checkpoints.load(self._queue.engine, start.sha256)
        vocabulary, ids, corpus_sha256 = self._encode(lease, spec, alphabet, resumed or start_state)
        return _Inputs(
            spec=spec,
            checkpoints=own_checkpoints,
            resumed=resumed,
            start=start,
            start_state=start_state,
            vocabulary=vocabulary,
            ids=ids,
            corpus_sha256=corpus_sha256,
        )

    def _build_trainer(self, lease: Lease, inputs: _Inputs, aside: Aside) -> Trainer:
        """A trainer at the step where this attempt begins; deviations go into the history."""
        spec, start = inputs.spec, inputs.start
        config = TrainConfig.from_spec(spec.model_dump(), len(inputs.vocabulary))
        if self._processor == "gpu":
            # A GPU computes a batch at once: parts would only double its calls.
            config = replace(config, shards=1)
        if config.threads != self._threads:
            if inputs.resumed is None:
                # A resumed training records below how this process differs from the last one.
                threads = {"asked": config.threads, "got": self._threads}
                record_event(self._queue, lease, "inexact", threads=threads)
            config = replace(config, threads=self._threads)
        state = inputs.resumed
        if start is not None and inputs.start_state is not None:
            state = self._save_first_state(lease, inputs, start, inputs.start_state, config)
        recall_from = [lease.claim.job_id]
        if state is not None:
            parts = find_holdout(state.meta, config, inputs.ids, inputs.vocabulary).parts
            config = extend_epochs(state, config, steps_per_epoch(config, parts))
            if start is not None and start.job_id and state.meta.get("start_step"):
                # This training continues another one and counts its steps, so that an earlier
                # step's checkpoint may be the other one's.
                recall_from.append(start.job_id)

        def recall(step: int) -> TrainingState | None:
            # The best checkpoint may be on its way.
            aside.wait()
            return inputs.checkpoints.recall(recall_from, step)

        trainer = Trainer(
            config,
            inputs.ids,
            inputs.vocabulary,
            lowercase=spec.lowercase,
            state=state,
            backend=backend_of(self._processor),
            load_state=recall,
        )
        trainer.exact &= spec.threads == self._threads
        if inputs.resumed is None:
            record_event(self._queue, lease, "held_out", **trainer.holdout.describe())
        if state is not None and (changes := _differences(state, config, self._processor)):
            record_event(self._queue, lease, "inexact", **changes)
        return trainer

    def _run(self, lease: Lease, inputs: _Inputs, trainer: Trainer, aside: Aside) -> None:
        spec, vocabulary, ids = inputs.spec, inputs.vocabulary, inputs.ids
        per_token = characters_per_token(vocabulary, ids, trainer.holdout)
        if spec.tokenizer == "word":
            size = len(vocabulary)
            lease.persist(lambda: self._queue.record_vocabulary(lease.claim, size, per_token))
        index = None
        if spec.sample is not None:
            index = self._corpora.index(lease.claim.corpus_id, lowercase=spec.lowercase)
        texts = TrainingTexts(
            self._queue,
            lease,
            spec,
            trainer,
            ids,
            self._processor,
            index,
            trainer_waits=not self._aside,
        )
        run = TrainingRun(self._queue, lease, trainer, inputs.checkpoints, texts, aside, per_token)
        if inputs.resumed is not None:
            run.resume(inputs.resumed)
        run.run()

    def _encode(
        self, lease: Lease, spec: TrainSpec, alphabet: str, state: TrainingState | None
    ) -> tuple[Vocabulary, Ids, str]:
        """The vocabulary, the corpus's ids, and the SHA-256 that names its bytes.

        A checkpoint brings its words along. Before the first one they are counted, with the same
        result for the same text.
        """
        corpus = self._stream(lease, spec)
        vocabulary, pieces = Vocabulary(alphabet), corpus.pieces
        if spec.tokenizer == "word":
            rules = NEWEST_RULES if state is None else state.word_rules
            if state is None:
                # The corpus is read twice, so that it is never in memory as a whole.
                words = frequent_words(pieces, spec.vocabulary_limit, rules)
                corpus = self._stream(lease, spec)
            else:
                words = state.words
            vocabulary, pieces = Vocabulary(alphabet, words, rules), blocks(corpus.pieces, rules)
        try:
            ids = encode_pieces(vocabulary, pieces, corpus.characters)
        except UnknownCharacter as error:
            raise VocabularyMismatch(error.character, error.position) from None
        return vocabulary, ids, corpus.sha256

    def _stream(self, lease: Lease, spec: TrainSpec) -> corpora.CorpusStream:
        corpus_id = lease.claim.corpus_id
        corpus = corpora.stream(self._queue.engine, corpus_id, lowercase=spec.lowercase)
        if corpus is None:
            raise CorpusDeleted("train")
        return corpus

    def _save_first_state(
        self,
        lease: Lease,
        inputs: _Inputs,
        start: StartingPoint,
        start_state: TrainingState,
        config: TrainConfig,
    ) -> TrainingState:
        """Save what the training starts from as its own first checkpoint."""
        lowercase = inputs.spec.lowercase
        same_corpus = inputs.corpus_sha256 == start.corpus_sha256
        same_text = same_corpus and lowercase == start.lowercase
        kept = start_state.meta if same_corpus else {}
        state = initial_state(
            start_state,
            config,
            inputs.vocabulary,
            fingerprint(config.threads, config.shards, self._processor),
            find_holdout(kept, config, inputs.ids, inputs.vocabulary),
            lowercase=lowercase,
            same_text=same_text,
        )
        continues = same_text and can_continue(start_state, config)
        inputs.checkpoints.save(state, validated=continues and start.validated)
        record_event(
            self._queue,
            lease,
            "began_from",
            checkpoint=start.id,
            step=state.meta["step"],
            goes_on=continues,
        )
        return state


def _differences(state: TrainingState, config: TrainConfig, processor: Processor) -> dict[str, Any]:
    """How this process differs from the checkpoint's: ``{name: {was, is}}``."""
    here = fingerprint(config.threads, config.shards, processor)
    there = state.meta.get("fingerprint") or {}
    return {
        name: {"was": there.get(name), "is": value}
        for name, value in here.items()
        if there.get(name) != value
    }
