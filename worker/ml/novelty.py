"""Measures how much of a text is copied: its longest match in the corpus, and its 8-grams.

Short matches are found in a suffix array of the corpus, for many texts at once. Longer ones are
compared with the corpus at the positions that it gives. Nothing is hashed, so every figure is
exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worker.ml.suffix_array import DEPTH, Indices, Matches, SuffixArray

GRAM = 8
#: If even the rarest gram of a piece has more positions, the corpus is so repetitive that
#: `str.find` is fast.
MANY_POSITIONS = 4000
#: Characters compared at a time.
COMPARED_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Novelty:
    """What a text copies from its corpus.

    Attributes:
        copied_characters: Length of the longest piece that occurs verbatim in the corpus.
        copied_at: Position of that piece in the text; of equally long pieces, the first.
        copied_from: Its first position in the corpus, in characters.
        known_grams: Share of the text's 8-grams that occur in the corpus; None for a text shorter
            than 8 characters.
    """

    copied_characters: int
    copied_at: int
    copied_from: int
    known_grams: float | None


@dataclass(frozen=True, slots=True)
class CopiedSpan:
    """A piece of a text that occurs verbatim in the corpus.

    Attributes:
        start: Its position in the text, in characters.
        length: Its length, at least `DEPTH`.
        source: Its first position in the corpus, in characters.
    """

    start: int
    length: int
    source: int


class NoveltyIndex:
    """An index to find pieces of texts in a corpus; takes 6 to 9 bytes per character beside it."""

    def __init__(self, corpus: str) -> None:
        """Index a corpus, lower-cased if the network was trained on it lower-cased."""
        self._corpus = corpus
        self._suffixes = SuffixArray(corpus)

    @property
    def characters(self) -> int:
        """Length of the corpus."""
        return len(self._corpus)

    def look_up(self, text: str) -> Novelty:
        """Measure what a text copies from the corpus."""
        return self.look_up_all([text])[0]

    def look_up_all(self, texts: Sequence[str]) -> list[Novelty]:
        """Measure what each of some texts copies from the corpus."""
        matches = self._suffixes.search(texts)
        return [self._measure(text, found) for text, found in zip(texts, matches, strict=True)]

    def copied_spans(self, text: str) -> list[CopiedSpan]:
        """Find the pieces of a text that occur in the corpus, in order, none of them overlapping.

        Where two overlap, the longer one stays whole, and the rest of the other counts if it is
        long enough by itself.
        """
        [matches] = self._suffixes.search([text])
        return [
            CopiedSpan(
                *(start, length),
                self._first_position(text[start : start + length], matches[start : start + 1]),
            )
            for start, length in _disjoint(self._maximal_matches(text, matches), len(text))
        ]

    def _maximal_matches(self, text: str, matches: Matches) -> list[tuple[int, int]]:
        """The matches that can be extended neither to the left nor to the right: at, length."""
        found = []
        bounds = matches.bounds
        whole = np.flatnonzero(matches.reach >= DEPTH)
        at = 0
        while (place := int(np.searchsorted(whole, at))) < len(whole):
            at = int(whole[place])
            bound = int(bounds[at])
            length = bound
            if bound > DEPTH:
                length = self._extend_match(text[at : at + bound], DEPTH, matches[at : at + bound])
            found.append((at, length))
            end = at + length
            if end == len(text):
                break
            # The next one holds the character at `end`. If it begins somewhere, so it does later.
            at, last = at + 1, max(at + 1, end + 1 - DEPTH)
            while at < last:
                middle = (at + last) // 2
                if self._occurs(text, middle, end + 1, bounds, matches):
                    last = middle
                else:
                    at = middle + 1
        return found

    def _occurs(self, text: str, start: int, end: int, bounds: Indices, matches: Matches) -> bool:
        """Whether a piece of a text, longer than `DEPTH`, occurs in the corpus."""
        length = end - start
        if bounds[start] < length:
            return False
        return self._extend_match(text[start:end], length - 1, matches[start:end]) == length

    def _measure(self, text: str, matches: Matches) -> Novelty:
        at, length = self._longest_match(text, matches)
        count = len(text) - GRAM + 1
        known = int(np.count_nonzero(matches.reach >= GRAM))
        return Novelty(
            copied_characters=length,
            copied_at=at,
            copied_from=self._first_position(text[at : at + length], matches[at : at + 1]),
            known_grams=known / count if count > 0 else None,
        )

    def _longest_match(self, text: str, matches: Matches) -> tuple[int, int]:
        """The longest piece of a text in the corpus, of equally long ones the first: at, length."""
        longest = at = 0
        left = matches.bounds.copy()
        # Most likely first: most texts need one comparison.
        while len(left) and (bound := int(left[i := int(left.argmax())])) >= max(longest, 1):
            left[i] = 0
            if bound == longest and i > at:
                continue
            found = bound
            if bound > DEPTH:
                # An earlier piece of the same length counts too.
                known = max(longest - 1 if i < at else longest, DEPTH)
                found = self._extend_match(text[i : i + bound], known, matches[i : i + bound])
            if found > longest or (found == longest and i < at):
                longest, at = found, i
        return at, longest

    def _extend_match(self, text: str, known: int, matches: Matches) -> int:
        """How much of the beginning of a text occurs in the corpus, but at least `known`.

        Args:
            text: Each `DEPTH` characters of it occur in the corpus.
            known: A length, at least `DEPTH`; shorter matches are of no interest.
            matches: Of the text.
        """
        piece = text[: known + 1]
        grams = len(piece) - DEPTH + 1
        offset = int(np.argmin(matches.last[:grams] - matches.first[:grams]))
        first, last = int(matches.first[offset]), int(matches.last[offset])
        if last - first > MANY_POSITIONS:
            while known < len(text) and (start := self._corpus.find(piece)) >= 0:
                known = self._match_length(text, start, known + 1)
                piece = text[: known + 1]
            return known
        for position in self._suffixes.positions[first:last]:
            start = position - offset
            if start >= 0 and self._corpus.startswith(piece, start):
                known = self._match_length(text, start, known + 1)
                piece = text[: known + 1]
                if known == len(text):
                    break
        return known

    def _first_position(self, piece: str, matches: Matches) -> int:
        """The first position of a piece that occurs in the corpus; `matches` are of its start."""
        if not piece:
            return 0
        if len(piece) < DEPTH:
            first, last = self._suffixes.range_of(piece)
            return min(self._suffixes.positions[first:last])
        first, last = int(matches.first[0]), int(matches.last[0])
        if last - first > MANY_POSITIONS:
            return self._corpus.find(piece)
        positions = self._suffixes.positions[first:last]
        return min(start for start in positions if self._corpus.startswith(piece, start))

    def _match_length(self, text: str, start: int, known: int) -> int:
        """How many characters of a text match the corpus from `start` on; `known` of them do."""
        while known < len(text):
            part = text[known : known + COMPARED_CHARACTERS]
            source = self._corpus[start + known : start + known + len(part)]
            if part != source:
                return known + _common_prefix_length(part, source)
            known += len(part)
        return known


def _disjoint(found: Sequence[tuple[int, int]], characters: int) -> list[tuple[int, int]]:
    """What is left of maximal matches if each part of a text counts to the longest alone."""
    taken = np.zeros(characters, bool)
    kept = []
    for at, length in sorted(found, key=lambda match: (-match[1], match[0])):
        free = np.flatnonzero(~taken[at : at + length])
        if len(free) >= DEPTH:
            # Longer ones take its ends, and never its middle.
            start, end = at + int(free[0]), at + int(free[-1]) + 1
            taken[start:end] = True
            kept.append((start, end - start))
    return sorted(kept)


def _common_prefix_length(left: str, right: str) -> int:
    for length, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return length
    return min(len(left), len(right))
