"""What a job's texts are to the items of its corpus: new ones, and the nearest of each."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import extractOne

from shared.specs.generation import MAX_DRAWS
from shared.specs.seeds import redraw_seed
from worker.handlers.generated_text import GeneratedText
from worker.ml.sampling.sequence import Sequence

#: Between two blocks, texts are compared for this long, and for one text more: the texts of other
#: jobs wait meanwhile.
COMPARING_SECONDS = 0.01


@dataclass(slots=True)
class NewItems:
    """Draws again until each text of a job is neither in the corpus nor equal to another.

    Texts are settled in their order. Of two equal ones the first stays, whichever ended first, so
    that a seed gives the same texts in any batch.

    Attributes:
        texts: The texts of the job.
        known: The items of the corpus.
        whole: Gives the item that an ended text is.
        begin: Makes the sequence of a text's next draw, given the seed.
        settled: How many texts, from the first on, are settled.
        seconds: Device time of what was thrown away.
    """

    texts: list[GeneratedText]
    known: Collection[str]
    whole: Callable[[GeneratedText], str]
    begin: Callable[[GeneratedText, int], Sequence]
    settled: int = 0
    seconds: float = 0.0
    _seeds: dict[int, int] = field(default_factory=dict)
    _items: dict[int, str] = field(default_factory=dict)
    _written: set[str] = field(default_factory=set)

    def drawn_again(self) -> list[Sequence]:
        """New sequences in place of those whose texts were thrown away since the last call."""
        drawn = []
        for place in range(self.settled, len(self.texts)):
            text = self.texts[place]
            if not text.ended or text.exhausted:
                continue
            if place not in self._items:
                self._items[place] = self.whole(text)
            if self._items[place] in self.known:
                drawn += self._draw_again(place)
        while self.settled < len(self.texts) and self.texts[self.settled].ended:
            text, item = self.texts[self.settled], self._items.get(self.settled)
            if not text.exhausted and item in self._written:
                drawn += self._draw_again(self.settled)
                continue
            if item is not None:
                self._written.add(item)
            self.settled += 1
        return drawn

    def _draw_again(self, place: int) -> list[Sequence]:
        """Throw a text away; returns the sequence of its next draw, unless it had the last."""
        text = self.texts[place]
        seed = self._seeds.setdefault(place, text.sequence.request.seed)
        del self._items[place]
        text.discarded += 1
        if text.discarded == MAX_DRAWS:
            text.exhausted = True
            return []
        self.seconds += text.sequence.seconds
        text.sequence = self.begin(text, redraw_seed(seed, text.discarded))
        text.searched_tokens, text.stopped = 0, False
        return [text.sequence]


@dataclass(slots=True)
class NearestItems:
    """Finds the item of the corpus that is nearest to each text of a job, text by text.

    Attributes:
        texts: The texts of the job.
        known: The items of the corpus, in its order.
        whole: Gives the item that an ended text is.
        found: Of each text so far, the nearest item and its distance; None of an exhausted text.
        seconds: The time that it took.
    """

    texts: list[GeneratedText]
    known: list[str]
    whole: Callable[[GeneratedText], str]
    found: list[tuple[str, int] | None] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether it has looked at all texts."""
        return len(self.found) == len(self.texts)

    def look(self, settled: int) -> None:
        """Look at the next ended texts, for `COMPARING_SECONDS`.

        Args:
            settled: How many texts, from the first on, will not be drawn again.
        """
        started = time.perf_counter()
        while len(self.found) < settled and self.texts[len(self.found)].ended:
            text = self.texts[len(self.found)]
            self.found.append(None if text.exhausted else self._nearest(self.whole(text)))
            if time.perf_counter() - started > COMPARING_SECONDS:
                break
        self.seconds += time.perf_counter() - started

    def _nearest(self, item: str) -> tuple[str, int]:
        # Of equals it returns the first.
        nearest, distance, _ = extractOne(item, self.known, scorer=Levenshtein.distance)
        return nearest, int(distance)
