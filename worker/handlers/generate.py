"""What a `generate` job asks of a network: a checkpoint and a prompt in, texts out."""

import math
from collections import abc
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from shared.queue.types import Claim, TextRecord
from shared.specs.generation import GenerateSpec, Schedule
from shared.specs.seeds import text_seed
from worker.data.corpora import Corpora, novelty, random_piece
from worker.data.model_cache import LoadedModel, ModelCache
from worker.execution.failures import CorpusDeleted, ModelDeleted, NothingToWriteWith
from worker.ml.novelty import NoveltyIndex
from worker.ml.sampling.request import SamplingRequest
from worker.ml.sampling.sequence import Sequence

#: Log-probabilities are told to so many digits after the point.
LOGPROB_DIGITS = 5


class Generate:
    """Makes jobs into sequences that an engine can run.

    Args:
        corpora: The texts that random prompts are taken from.
        samplers: The networks.
    """

    def __init__(self, corpora: Corpora, samplers: ModelCache) -> None:
        self._corpora = corpora
        self._models = samplers

    def begin(self, claim: Claim) -> "Writing":
        """All texts of a job, none of them begun."""
        spec = GenerateSpec.model_validate(claim.spec)
        checkpoint_id = _checkpoint(claim, spec.checkpoint)
        writer = self._models.get(checkpoint_id)
        index = self._corpora.index(claim.corpus_id, lowercase=writer.lowercase)
        writing = Writing(spec, checkpoint_id, writer, index)
        for (j, temperature), i in product(enumerate(spec.temperatures), range(spec.n)):
            seed = text_seed(spec.seed, j, i)
            prompt = self._prompt(claim, spec, writer, seed)
            first, last = _ends(temperature)
            request = SamplingRequest(
                prompt=writer.vocabulary.encode(prompt),
                length=spec.length,
                temperature=first,
                top_k=spec.top_k,
                top_p=spec.top_p,
                seed=seed,
                temperature_to=last,
                repetition_penalty=spec.repetition_penalty,
            )
            writing.texts.append(_Text(prompt, writer.sampler.new_sequence(request)))
        return writing

    def _prompt(self, claim: Claim, spec: GenerateSpec, writer: LoadedModel, seed: int) -> str:
        if spec.prompt:
            return spec.prompt.lower() if writer.lowercase else spec.prompt
        text = self._corpora.text(claim.corpus_id, lowercase=writer.lowercase)
        if text is None:
            raise CorpusDeleted("generate")
        by_words = bool(writer.vocabulary.words)
        return random_piece(text, seed, writer.window, by_words=by_words)


@dataclass(slots=True)
class _Text:
    """One text of a job.

    Attributes:
        searched: Tokens in which no stop string was found.
        told: Tokens that those who follow the job have, and the characters of these.
    """

    prompt: str
    sequence: Sequence
    searched: int = 0
    stopped: bool = False
    told: int = 0
    told_characters: int = 0


@dataclass(frozen=True, slots=True)
class Writing:
    """The texts of one job while they are written.

    Attributes:
        spec: What was asked for.
        checkpoint_id: What they cite.
        writer: The network and its vocabulary.
        index: Of the corpus, by which a text's novelty is told; None where there is none.
        texts: In their order: by temperature, then by `n`.
    """

    spec: GenerateSpec
    checkpoint_id: str
    writer: LoadedModel
    index: NoveltyIndex | None = None
    texts: list[_Text] = field(default_factory=list)

    @property
    def sequences(self) -> list[Sequence]:
        """Those that have still to be moved."""
        return [
            text.sequence
            for text in self.texts
            if text.sequence.remaining_steps and not text.stopped
        ]

    def notice_stops(self) -> list[Sequence]:
        """The sequences that have come upon a stop string since the last time; done with."""
        if not self.spec.stop:
            return []
        stopped = [text for text in self.texts if not text.stopped and self._has_stop(text)]
        for text in stopped:
            text.stopped = True
        return [text.sequence for text in stopped]

    def _has_stop(self, text: _Text) -> bool:
        written = text.sequence.output_ids
        if len(written) == text.searched:
            return False
        # A stop string may have begun in what was searched before.
        start = max(0, text.searched - max(map(len, self.spec.stop)))
        new = self.writer.vocabulary.decode(written[start:])
        text.searched = len(written)
        return any(stop in new for stop in self.spec.stop)

    def pieces(self) -> list[dict[str, Any]]:
        """What was written since the last time, as `shared.job_events` has pieces.

        What may turn out to be the beginning of a stop string is held back.
        """
        held_back = max(map(len, self.spec.stop), default=1) - 1
        found = []
        for position, text in enumerate(self.texts):
            written = text.sequence.output_ids
            until = len(written) - held_back
            if self.spec.score or text.stopped or until <= text.told:
                continue
            piece = self.writer.vocabulary.decode(written[text.told : until])
            said = {"position": position, "offset": text.told_characters, "text": piece}
            found.append(said if text.told_characters else said | {"prompt": text.prompt})
            text.told = until
            text.told_characters += len(piece)
        return found

    def check(self) -> None:
        """Raise what the engine met with one of the sequences."""
        for text in self.texts:
            if text.sequence.error is not None:
                raise text.sequence.error

    def records(self, unfinished: str | None = None) -> list[TextRecord]:
        """The texts as they are kept.

        Args:
            unfinished: The `finish_reason` of those that are not at their end, as far as they
                are written; those of which nothing is are left out.
        """
        return [
            self._record(position, text, unfinished or "length")
            for position, text in enumerate(self.texts)
            if unfinished is None or text.stopped or len(text.sequence.output_ids)
        ]

    def _record(self, position: int, text: _Text, unfinished: str) -> TextRecord:
        spec, sequence = self.spec, text.sequence
        written = self.writer.vocabulary.decode(sequence.output_ids)
        logprobs = [float(one) for one in sequence.logprobs]
        reason = unfinished if sequence.remaining_steps else "length"
        if text.stopped:
            written = _cut(written, spec.stop)
            logprobs = logprobs[: self._tokens(sequence, len(written))]
            reason = "stop"
        judged = written
        if spec.score:
            # Of the first token nobody asked the network.
            judged = self.writer.vocabulary.decode(sequence.request.prompt[1:])
        nats = math.fsum(logprobs)
        first, last = _ends(spec.temperatures[position // spec.n])
        return TextRecord(
            position=position,
            prompt=text.prompt,
            text=written,
            temperature=first,
            top_k=spec.top_k,
            top_p=spec.top_p,
            seed=sequence.request.seed,
            finish_reason="scored" if spec.score else reason,
            checkpoint_id=self.checkpoint_id,
            temperature_to=last,
            repetition_penalty=spec.repetition_penalty,
            echo=spec.echo,
            mean_logprob=nats / len(logprobs) if logprobs else None,
            bits_per_char=-nats / math.log(2) / len(judged) if judged else None,
            logprobs=[round(one, LOGPROB_DIGITS) for one in logprobs] if spec.logprobs else None,
            **({} if spec.score else novelty(self.index, written)),
        )

    def _tokens(self, sequence: Sequence, characters: int) -> int:
        """How many tokens of a text lie within its first characters."""
        decode = self.writer.vocabulary.decode
        lengths = [len(decode([token])) for token in sequence.output_ids]
        return int(np.searchsorted(np.cumsum(lengths), characters, side="right"))


def _checkpoint(claim: Claim, asked: str) -> str:
    if claim.model_id is None:
        raise ModelDeleted
    if claim.checkpoint_id is None:
        raise NothingToWriteWith(asked)
    return claim.checkpoint_id


def _cut(text: str, stops: abc.Sequence[str]) -> str:
    """The text before the first stop string that it holds."""
    return text[: min(text.find(stop) for stop in stops if stop in text)]


def _ends(temperature: float | Schedule) -> tuple[float, float | None]:
    """The temperature of the first character, and that of the last where it is another."""
    if isinstance(temperature, Schedule):
        return temperature.first, temperature.last
    return temperature, None
