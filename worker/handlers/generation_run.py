"""One attempt at a `generate` job: its texts from the first token to the stored record."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.queue.types import TextRecord
from shared.specs.generation import GenerateSpec, Schedule
from worker.data.model_cache import LoadedModel
from worker.ml.config import ITEM_BEGIN, ITEM_END
from worker.ml.novelty import NoveltyIndex
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence

#: Digits after the point of a stored log-probability.
LOGPROB_DIGITS = 5
#: No item holds either, and a network draws the first only where it goes astray.
ITEM_MARKS = (ITEM_END, ITEM_BEGIN)


@dataclass(slots=True)
class GeneratedText:
    """One text of a job.

    Attributes:
        prompt: What the text continues.
        sequence: Its tokens.
        searched_tokens: Tokens that are known to hold no stop string.
        stopped: Whether it has reached a stop string.
        published_tokens: Tokens that the job's followers have received.
        published_characters: Characters that they have received.
    """

    prompt: str
    sequence: Sequence
    searched_tokens: int = 0
    stopped: bool = False
    published_tokens: int = 0
    published_characters: int = 0


@dataclass(frozen=True, slots=True)
class GenerationRun:
    """All texts of one job while they are generated.

    Attributes:
        spec: The job's spec.
        checkpoint_id: The checkpoint that the texts cite.
        model: The loaded checkpoint.
        index: Finds what a text copies from the corpus; None if the corpus has no index.
        items: The items of a list; None of a text, or if the corpus has no index.
        texts: In order: by temperature, then by `n`.
    """

    spec: GenerateSpec
    checkpoint_id: str
    model: LoadedModel
    index: NoveltyIndex | None = None
    items: frozenset[str] | None = None
    texts: list[GeneratedText] = field(default_factory=list)

    @property
    def stops(self) -> list[str]:
        """What ends a text: the stop strings, and the end of an item."""
        return [*self.spec.stop, *(ITEM_MARKS if self.spec.items else ())]

    @property
    def sampler(self) -> Sampler:
        """The network that all sequences are sampled from."""
        return self.model.sampler

    @property
    def sequences(self) -> list[Sequence]:
        """All sequences of the job."""
        return [text.sequence for text in self.texts]

    @property
    def unfinished(self) -> list[Sequence]:
        """The sequences that still need steps."""
        return [
            text.sequence
            for text in self.texts
            if text.sequence.remaining_steps and not text.stopped
        ]

    def newly_stopped(self) -> list[Sequence]:
        """The sequences that have reached a stop string since the last call."""
        if not self.stops:
            return []
        stopped = [text for text in self.texts if not text.stopped and self._has_stop(text)]
        for text in stopped:
            text.stopped = True
        return [text.sequence for text in stopped]

    def _has_stop(self, text: GeneratedText) -> bool:
        written = text.sequence.output_ids
        if len(written) == text.searched_tokens:
            return False
        # A stop string may have begun in the tokens searched before.
        start = max(0, text.searched_tokens - max(map(len, self.stops)))
        new = self.model.vocabulary.decode(written[start:])
        text.searched_tokens = len(written)
        return any(stop in new for stop in self.stops)

    def new_pieces(self) -> list[dict[str, Any]]:
        """What was written since the last call, as the `piece` events of `shared.job_events`.

        Characters that may turn out to begin a stop string are held back.
        """
        held_back = max(map(len, self.spec.stop), default=1) - 1
        pieces = []
        for position, text in enumerate(self.texts):
            written = text.sequence.output_ids
            end = len(written) - held_back
            if text.stopped or end <= text.published_tokens:
                continue
            decoded = self.model.vocabulary.decode(written[text.published_tokens : end])
            piece = {"position": position, "offset": text.published_characters, "text": decoded}
            if self.spec.top_logprobs:
                piece |= self._alternatives(text.sequence, text.published_tokens, end)
            pieces.append(piece if text.published_characters else piece | {"prompt": text.prompt})
            text.published_tokens = end
            text.published_characters += len(decoded)
        return pieces

    def _alternatives(self, sequence: Sequence, start: int, end: int) -> dict[str, Any]:
        """Some tokens of a text, and the likeliest ones in the place of each."""
        tokens = TokenTexts(self.model.vocabulary.decode)
        likeliest = sequence.likeliest(start, end)
        logprobs = sequence.logprobs[start:end].tolist()
        return {
            "tokens": [tokens[id] for id in sequence.output_ids[start:end].tolist()],
            "logprobs": [round(logprob, LOGPROB_DIGITS) for logprob in logprobs],
            "top_logprobs": [
                [
                    (tokens[id], round(logprob, LOGPROB_DIGITS))
                    for id, logprob in zip(ids.tolist(), found.tolist(), strict=True)
                    if math.isfinite(logprob)
                ][: self.spec.top_logprobs]
                for ids, found in likeliest
            ],
        }

    def check(self) -> None:
        """Raise the error that the engine met in one of the sequences, if any."""
        for text in self.texts:
            if text.sequence.error is not None:
                raise text.sequence.error

    def read_ahead(self) -> None:
        """Texts that are written have all their input."""

    def new_progress(self) -> None:
        """What is written is told piece by piece."""

    def records(self, unfinished: str | None = None) -> list[TextRecord]:
        """The texts as they are stored.

        What they copy from the corpus is left out: it is measured for many runs at once.

        Args:
            unfinished: The `finish_reason` of the texts that were interrupted, which are stored
                as far as they are written. Texts without any token are left out.
        """
        return [
            self._record(position, text, unfinished or "length")
            for position, text in enumerate(self.texts)
            if unfinished is None or text.stopped or len(text.sequence.output_ids)
        ]

    def _record(self, position: int, text: GeneratedText, unfinished: str) -> TextRecord:
        spec, sequence = self.spec, text.sequence
        written = self.model.vocabulary.decode(sequence.output_ids)
        logprobs = sequence.logprobs.tolist()
        reason = unfinished if sequence.remaining_steps else "length"
        if text.stopped:
            whole, written = written, _before_stop(written, self.stops)
            at_end = spec.items and whole[len(written)] in ITEM_MARKS
            # The end of an item is predicted like any other of its tokens.
            logprobs = logprobs[: self._tokens_within(sequence, len(written)) + at_end]
            reason = "end" if at_end else "stop"
        nats = math.fsum(logprobs)
        first, last = temperature_ends(spec.temperatures[position // spec.n])
        told = self._alternatives(sequence, 0, len(logprobs)) if spec.top_logprobs else {}
        rounded = [round(logprob, LOGPROB_DIGITS) for logprob in logprobs]
        return TextRecord(
            position=position,
            prompt=text.prompt,
            text=written,
            temperature=first,
            top_k=spec.top_k,
            top_p=spec.top_p,
            seed=sequence.request.seed,
            finish_reason=reason,
            checkpoint_id=self.checkpoint_id,
            temperature_to=last,
            repetition_penalty=spec.repetition_penalty,
            echo=spec.echo,
            mean_logprob=nats / len(logprobs) if logprobs else None,
            bits_per_char=-nats / math.log(2) / len(written) if written else None,
            logprobs=rounded if spec.logprobs else None,
            tokens=told.get("tokens"),
            top_logprobs=told.get("top_logprobs"),
            copy=None if self.items is None else text.prompt + written in self.items,
        )

    def _tokens_within(self, sequence: Sequence, characters: int) -> int:
        """How many tokens lie within the first characters of a text."""
        decode = self.model.vocabulary.decode
        lengths = [len(decode([token])) for token in sequence.output_ids]
        return int(np.searchsorted(np.cumsum(lengths), characters, side="right"))


class TokenTexts(dict[int, str]):
    """The texts of tokens by id; empty for what marks the end of an item.

    Args:
        decode: Decodes ids.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode

    def __missing__(self, id: int) -> str:
        """Decode an id once."""
        text = self._decode([id])
        self[id] = "" if text in ITEM_MARKS else text
        return self[id]


def _before_stop(text: str, stops: list[str]) -> str:
    """The text before its first stop string."""
    return text[: min(text.find(stop) for stop in stops if stop in text)]


def temperature_ends(temperature: float | Schedule) -> tuple[float, float | None]:
    """The temperature of the first character, and that of the last if a schedule changes it."""
    if isinstance(temperature, Schedule):
        return temperature.first, temperature.last
    return temperature, None
