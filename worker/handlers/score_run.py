"""One attempt at a score: a text is read piece by piece, and its likelihood summed up."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.queue.types import ProgressReport, TextRecord
from shared.specs.generation import GenerateSpec
from worker.data.model_cache import LoadedModel
from worker.handlers.generation_run import LOGPROB_DIGITS, bits_per_char
from worker.handlers.reading_run import ReadingRun
from worker.ml.sampling.sequence import Sequence
from worker.ml.sampling.shape import BLOCK

#: Tokens that are read at once. No block of the engine takes more than `BLOCK` of them.
PIECE_TOKENS = 100_000

LogProbs = npt.NDArray[np.float32]


class ExactSum:
    """The sum of floats, rounded once at its end, however they come."""

    def __init__(self) -> None:
        self._terms: list[float] = []

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Add values."""
        terms, left = list[float](), [*self._terms, *values.tolist()]
        # `fsum` rounds once; what that left out is the next term.
        while rest := math.fsum([*left, *(-term for term in terms)]):
            terms.append(rest)
            if not math.isfinite(rest):
                break
        self._terms = terms

    def value(self, more: npt.NDArray[np.floating]) -> float:
        """The sum, with more values."""
        return math.fsum([*self._terms, *more.tolist()])


@dataclass(slots=True)
class ScoreRun(ReadingRun):
    """A text while it is scored. The network's state goes from each piece to the next.

    Attributes:
        spec: The job's spec.
        checkpoint_id: The checkpoint that the score cites.
        model: The loaded checkpoint.
        prompt: The text, as its record stores it; empty for a corpus.
        sequence: Its tokens, of which a piece or two are in memory.
        pieces: The tokens that follow, at most `PIECE_TOKENS` at a time.
        tokens_total: How many tokens there are, roughly.
        characters: Characters of the tokens read so far, without the first one, for which the
            network predicts nothing.
        started_at: `time.monotonic` of the start.
    """

    spec: GenerateSpec
    checkpoint_id: str
    model: LoadedModel
    prompt: str
    sequence: Sequence
    pieces: Iterator[npt.NDArray[np.integer]]
    tokens_total: int
    characters: int
    started_at: float = field(default_factory=time.monotonic)
    _nats: ExactSum = field(default_factory=ExactSum)
    _kept: list[LogProbs] = field(default_factory=list)
    _told: int = 0

    def read_ahead(self) -> None:
        """Read the next piece before a block could need it.

        Raises:
            UnknownLetter: The corpus has a character that the model does not know.
            shared.blobs.MissingBlob: The text's bytes are not in the database.
            shared.blobs.CorruptBlob: The bytes have changed.
        """
        while self.sequence.remaining_steps <= BLOCK:
            ids = next(self.pieces, None)
            if ids is None:
                return
            found = self.sequence.logprobs
            self._nats.add(found)
            if self.spec.logprobs:
                self._kept.append(found)
            self.sequence.extend(ids)
            self.characters += len(self.model.vocabulary.decode(ids))

    def new_progress(self) -> ProgressReport | None:
        """How far a long score is, once after each piece."""
        tokens = self.sequence.computed_tokens
        if tokens - self._told < PIECE_TOKENS:
            return None
        self._told = tokens
        per_second = tokens / (time.monotonic() - self.started_at)
        share = min(1.0, tokens / self.tokens_total)
        return ProgressReport(
            step=tokens,
            steps_total=max(tokens, self.tokens_total),
            epoch=share,
            epochs=1.0,
            loss=None,
            val_loss=None,
            learning_rate=None,
            characters_per_second=None,
            seconds_left=max(0, self.tokens_total - tokens) / per_second,
        )

    def records(self, unfinished: str | None = None) -> list[TextRecord]:
        """The score; nothing if it was interrupted."""
        if unfinished is not None:
            return []
        last, scored = self.sequence.logprobs, self.sequence.computed_tokens
        nats = self._nats.value(last)
        logprobs = None
        if self.spec.logprobs:
            kept = np.concatenate([*self._kept, last]).tolist()
            logprobs = [round(each, LOGPROB_DIGITS) for each in kept]
        return [
            TextRecord(
                position=0,
                prompt=self.prompt,
                text="",
                temperature=1.0,
                top_k=None,
                top_p=None,
                seed=self.sequence.request.seed,
                finish_reason="scored",
                checkpoint_id=self.checkpoint_id,
                mean_logprob=nats / scored if scored else None,
                bits_per_char=bits_per_char(nats, self.characters),
                logprobs=logprobs,
            )
        ]
