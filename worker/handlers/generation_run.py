"""One attempt at a `generate` job: its texts from the first token to the stored record."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from shared.queue.types import TextRecord
from shared.specs.generation import GenerateSpec, Schedule
from worker.data.corpora import Items
from worker.data.model_cache import LoadedModel
from worker.handlers.generated_text import ITEM_MARKS, GeneratedText, before_stop
from worker.handlers.known_items import NearestItems, NewItems
from worker.ml.novelty import NoveltyIndex
from worker.ml.sampling.sampler import Sampler
from worker.ml.sampling.sequence import Sequence

#: Digits after the point of a stored log-probability.
LOGPROB_DIGITS = 5


@dataclass(frozen=True)
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
    items: Items | None = None
    texts: list[GeneratedText] = field(default_factory=list)

    @property
    def stops(self) -> list[str]:
        """What ends a text: the stop strings, and the end of an item."""
        return [*self.spec.stop, *(ITEM_MARKS if self.spec.items else ())]

    @cached_property
    def new_items(self) -> NewItems | None:
        """Sees to it that all texts are new, if that is wanted."""
        if not self.spec.only_new or self.items is None:
            return None
        return NewItems(self.texts, self.items, self._item, self._begin)

    @cached_property
    def nearest_items(self) -> NearestItems | None:
        """Finds the items that are nearest to the texts, if that is wanted."""
        if not self.spec.nearest or self.items is None:
            return None
        return NearestItems(self.texts, list(self.items), self._item)

    def _item(self, text: GeneratedText) -> str:
        """The item that an ended text is, prompt included."""
        return text.prompt + text.written(self.model.vocabulary, self.stops)

    def _begin(self, text: GeneratedText, seed: int) -> Sequence:
        return self.sampler.new_sequence(replace(text.sequence.request, seed=seed))

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
        return [text.sequence for text in self.texts if not text.ended]

    @property
    def finished(self) -> bool:
        """Whether all texts have ended, and all that is wanted of them is known."""
        looked = self.nearest_items is None or self.nearest_items.finished
        return looked and not self.unfinished

    @property
    def seconds(self) -> float:
        """The device time that it has used, also for what was thrown away."""
        seconds = sum(sequence.seconds for sequence in self.sequences)
        more = (self.new_items, self.nearest_items)
        return seconds + sum(each.seconds for each in more if each is not None)

    def newly_stopped(self) -> list[Sequence]:
        """The sequences that have reached a stop string since the last call."""
        if not self.stops:
            return []
        stopped = [text for text in self.texts if not text.stopped and self._has_stop(text)]
        for text in stopped:
            text.stopped = True
        return [text.sequence for text in stopped]

    def drawn_again(self) -> list[Sequence]:
        """New sequences in place of those whose texts were thrown away since the last call."""
        return [] if self.new_items is None else self.new_items.drawn_again()

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

        Characters that may turn out to begin a stop string are held back, and all of a text that
        may be thrown away.
        """
        if self.new_items is not None:
            return []
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
        """Look at what has ended; texts that are written have all their input."""
        if self.nearest_items is not None:
            new = self.new_items
            self.nearest_items.look(len(self.texts) if new is None else new.settled)

    def new_progress(self) -> None:
        """What is written is told piece by piece."""

    def records(self, unfinished: str | None = None) -> list[TextRecord]:
        """The texts as they are stored.

        What they copy from the corpus is left out: it is measured for many runs at once.

        Args:
            unfinished: The `finish_reason` of the texts that were interrupted, which are stored
                as far as they are written. Texts without any token are left out, and those that
                might still be thrown away.
        """
        kept = self.texts
        if unfinished is not None and self.new_items is not None:
            kept = kept[: self.new_items.settled]
        return [
            self._record(position, text, unfinished or "length")
            for position, text in enumerate(kept)
            if unfinished is None or text.stopped or len(text.sequence.output_ids)
        ]

    def _record(self, position: int, text: GeneratedText, unfinished: str) -> TextRecord:
        spec, sequence = self.spec, text.sequence
        written = self.model.vocabulary.decode(sequence.output_ids)
        logprobs = sequence.logprobs.tolist()
        reason = unfinished if sequence.remaining_steps else "length"
        if text.exhausted:
            written, logprobs, reason = "", [], "exhausted"
        elif text.stopped:
            whole, written = written, before_stop(written, self.stops)
            at_end = spec.items and whole[len(written)] in ITEM_MARKS
            # The end of an item is predicted like any other of its tokens.
            logprobs = logprobs[: self._tokens_within(sequence, len(written)) + at_end]
            reason = "end" if at_end else "stop"
        nats = math.fsum(logprobs)
        copy = nearest = None
        if self.items is not None and not text.exhausted:
            copy = text.prompt + written in self.items
        if self.nearest_items is not None and position < len(self.nearest_items.found):
            nearest = self.nearest_items.found[position]
        first, last = temperature_ends(spec.temperatures[position // spec.n])
        told = self._alternatives(sequence, 0, len(logprobs)) if spec.top_logprobs else {}
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
            bits_per_char=bits_per_char(nats, len(written)),
            logprobs=[round(each, LOGPROB_DIGITS) for each in logprobs] if spec.logprobs else None,
            tokens=told.get("tokens"),
            top_logprobs=told.get("top_logprobs"),
            copy=copy,
            discarded=text.discarded if spec.only_new else None,
            nearest=None if nearest is None else nearest[0],
            nearest_distance=None if nearest is None else nearest[1],
        )

    def _tokens_within(self, sequence: Sequence, characters: int) -> int:
        """How many tokens lie within the first characters of a text."""
        lengths = self.model.vocabulary.token_lengths[sequence.output_ids]
        return int(np.searchsorted(np.cumsum(lengths), characters, side="right"))


def bits_per_char(nats: float, characters: int) -> float | None:
    """Bits per character of a text with this log-probability; None for the empty text."""
    if not characters:
        return None
    # A text that is certain has 0 bits, not -0.
    return -nats / math.log(2) / characters or 0.0


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


def temperature_ends(temperature: float | Schedule) -> tuple[float, float | None]:
    """The temperature of the first character, and that of the last if a schedule changes it."""
    if isinstance(temperature, Schedule):
        return temperature.first, temperature.last
    return temperature, None
