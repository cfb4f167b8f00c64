"""Measures how much of a text is copied: its longest match in the corpus, and its 8-grams.

The index holds all positions of the corpus, sorted by the 8 characters from there on: a suffix
array of limited depth. One search in it finds how many of a text's next 8 characters occur in the
corpus, and where; longer matches are compared at those positions. Nothing is hashed, so every
figure is exact.
"""

from array import array
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from worker.ml.vocabulary import Ids, Vocabulary

GRAM = 8
#: The id behind the end of a text and of characters that the corpus lacks; it matches nothing.
NO_MATCH = 0
#: Positions sorted at a time (more only if one character begins more); bounds the memory to build.
SORT_CHUNK = 1 << 20
KEY_BITS = 64
#: One in this many sorted positions has its characters in a separate array, an eighth of a byte per
#: character of the corpus. NumPy searches that array at once, which leaves few steps of the search.
SIGNPOST_EVERY = 64
#: An 8-gram with at most this many positions is rare enough; otherwise a rarer one is looked for.
FEW_POSITIONS = 64
#: If even the rarest 8-gram has more, the corpus is so repetitive that `str.find` is fast.
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


class NoveltyIndex:
    """An index to find pieces of texts in a corpus; takes 5 to 8 bytes per character beside it."""

    def __init__(self, corpus: str) -> None:
        """Index a corpus, lower-cased if the network was trained on it lower-cased."""
        self._corpus = corpus
        whole = max(len(corpus) - GRAM + 1, 0)
        self._positions = array("I")
        self._characters = "".join(sorted(set(corpus)))
        self._ids = np.zeros(len(corpus) + GRAM, _width(len(self._characters) + 1))
        if corpus:
            ids = Vocabulary(self._characters).encode(corpus)
            if whole:
                _append_sorted(ids, whole, self._positions)
            # Big-endian, so that 8 ids in a row are compared as numbers.
            np.add(ids, 1, out=self._ids[: len(corpus)], casting="unsafe")
        # The last positions are cut short by the end, and only Python's strings sort those right.
        for position in range(whole, len(corpus)):
            insort(self._positions, position, key=self._gram_at)
        positions = np.frombuffer(self._positions, np.uint32)
        signposts = np.arange(0, len(positions), SIGNPOST_EVERY)
        self._signposts = _as_keys(self._grams_at(positions, signposts))

    @property
    def characters(self) -> int:
        """Length of the corpus."""
        return len(self._corpus)

    def look_up(self, text: str) -> Novelty:
        """Measure what a text copies from the corpus."""
        positions, reach = self._search(text)
        # A match from i on ends at the latest where the first unknown 8-gram from there on breaks.
        bounds = [*reach, 0]
        for i in reversed(range(len(text))):
            if reach[i] == GRAM:
                bounds[i] = max(GRAM, bounds[i + 1] + 1)
        longest, at = 0, 0
        for i, bound in enumerate(bounds[:-1]):
            if bound <= longest:
                continue
            found = bound
            if bound > GRAM:
                known = max(longest, GRAM)
                found = self._extend_match(text[i : i + bound], known, positions[i : i + known])
            if found > longest:
                longest, at = found, i
        count = len(text) - GRAM + 1
        return Novelty(
            copied_characters=longest,
            copied_at=at,
            copied_from=self._corpus.find(text[at : at + longest]),
            known_grams=reach.count(GRAM) / count if count > 0 else None,
        )

    def _search(self, text: str) -> tuple[list[int], list[int]]:
        """Search for the 8 characters from each character of a text on.

        All are searched for at once, because a step costs the same for one and for hundreds.

        Returns:
            Of each: its index among the sorted positions, or where it would be inserted; and how
            many of its characters occur in the corpus.
        """
        if not text or not self._corpus:
            return [0] * len(text), [0] * len(text)
        grams = self._encode(text)[np.arange(len(text))[:, None] + np.arange(GRAM)]
        keys = _as_keys(grams)
        positions = np.frombuffer(self._positions, np.uint32)
        first, last = self._bracket(keys)
        while (open_ := first < last).any():
            middle = (first + last) // 2
            less = _is_less(_as_keys(self._grams_at(positions, middle)), keys)
            first = np.where(open_ & less, middle + 1, first)
            last = np.where(open_ & ~less, middle, last)
        # The better match of the two neighbours decides.
        neighbours = (
            self._grams_at(positions, np.maximum(first - 1, 0)),
            self._grams_at(positions, first),
        )
        equal = [(neighbour == grams) & (grams != NO_MATCH) for neighbour in neighbours]
        reach = np.max([np.cumprod(matches, axis=1).sum(axis=1) for matches in equal], axis=0)
        return first.tolist(), reach.tolist()

    def _bracket(
        self, keys: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Bounds [n] of the index of 8-grams among the sorted positions, by the signposts."""
        # If 8 ids fill several numbers, skip all signposts with the same first number.
        side: Literal["left", "right"] = "left" if keys.shape[1] == 1 else "right"
        before = np.searchsorted(self._signposts[:, 0], keys[:, 0], "left")
        behind = np.searchsorted(self._signposts[:, 0], keys[:, 0], side)
        first = np.maximum((before - 1) * SIGNPOST_EVERY + 1, 0)
        return first, np.minimum(behind * SIGNPOST_EVERY, len(self._positions))

    def _encode(self, text: str) -> npt.NDArray[np.unsignedinteger]:
        """The ids of a text, followed by NO_MATCH."""
        known = np.array(list(map(ord, self._characters)), np.uint32)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        at = np.minimum(np.searchsorted(known, points), len(known) - 1)
        ids = np.zeros(len(text) + GRAM, self._ids.dtype)
        ids[: len(text)] = np.where(known[at] == points, at + 1, NO_MATCH)
        return ids

    def _grams_at(
        self, positions: npt.NDArray[np.uint32], indices: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.unsignedinteger]:
        """The 8 ids at the positions of these indices, [n, 8]; indices are capped at the last."""
        starts = positions[np.minimum(indices, len(positions) - 1)].astype(np.int64)
        grams: npt.NDArray[np.unsignedinteger] = self._ids[starts[:, None] + np.arange(GRAM)]
        return grams

    def _gram_at(self, position: int) -> str:
        return self._corpus[position : position + GRAM]

    def _extend_match(self, text: str, known: int, positions: Sequence[int]) -> int:
        """How much of the beginning of a text occurs in the corpus, but at least `known`.

        Args:
            text: Each of its 8-grams occurs in the corpus.
            known: A length that is known to be reached elsewhere.
            positions: Indices of its 8-grams among the sorted positions.
        """
        piece = text[: known + 1]
        offset, first, last = self._rarest_gram(piece, positions)
        if last - first > MANY_POSITIONS:
            while known < len(text) and (start := self._corpus.find(piece)) >= 0:
                known = self._match_length(text, start, known + 1)
                piece = text[: known + 1]
            return known
        for position in self._positions[first:last]:
            start = position - offset
            if start >= 0 and self._corpus.startswith(piece, start):
                known = self._match_length(text, start, known + 1)
                piece = text[: known + 1]
                if known == len(text):
                    break
        return known

    def _rarest_gram(self, piece: str, positions: Sequence[int]) -> tuple[int, int, int]:
        """A rare 8-gram of a piece: its offset, and its range among the sorted positions."""
        rarest = (0, 0, len(self._positions))
        for i in range(len(piece) - GRAM + 1):
            first, gram = positions[i], piece[i : i + GRAM]
            last = bisect_right(self._positions, gram, lo=first, key=self._gram_at)
            if last - first < rarest[2] - rarest[1]:
                rarest = (i, first, last)
            if last - first <= FEW_POSITIONS:
                break
        return rarest

    def _match_length(self, text: str, start: int, known: int) -> int:
        """How many characters of a text match the corpus from `start` on; `known` of them do."""
        while known < len(text):
            part = text[known : known + COMPARED_CHARACTERS]
            source = self._corpus[start + known : start + known + len(part)]
            if part != source:
                return known + _common_prefix_length(part, source)
            known += len(part)
        return known


def _width(count: int) -> str:
    """The smallest big-endian unsigned type for this many ids."""
    return next(f">u{size}" for size in (1, 2, 4) if count <= 256**size)


def _as_keys(grams: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.uint64]:
    """8-grams [n, 8] as numbers of the same order [n, 1, 2 or 4], most significant first."""
    return np.ascontiguousarray(grams).view(">u8").astype(np.uint64)


def _is_less(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether each key of `left` comes before that of `right`, [n]."""
    less = left[:, -1] < right[:, -1]
    for part in reversed(range(left.shape[1] - 1)):
        a, b = left[:, part], right[:, part]
        less = (a < b) | (a == b) & less
    return less


def _common_prefix_length(left: str, right: str) -> int:
    for length, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return length
    return min(len(left), len(right))


def _append_sorted(ids: Ids, count: int, positions: "array[int]") -> None:
    """Append the positions 0 … count-1, sorted by the 8 ids from each on."""
    # In chunks, because NumPy counts in 8 bytes per character.
    parts = [ids[i : min(i + SORT_CHUNK, count)] for i in range(0, count, SORT_CHUNK)]
    starts = np.sum([np.bincount(part, minlength=int(ids.max()) + 1) for part in parts], axis=0)
    first = 0
    while first < len(starts):
        # As many first characters as fit, but at least one.
        fitting = int(np.searchsorted(np.cumsum(starts[first:]), SORT_CHUNK, side="right"))
        last = first + max(fitting, 1)
        found = np.flatnonzero((ids[:count] >= first) & (ids[:count] < last))
        keys = [_key(ids, found, part) for part in range(GRAM * ids.itemsize * 8 // KEY_BITS)]
        order = np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys[::-1])
        positions.frombytes(found[order].astype(np.uint32).tobytes())
        first = last


def _key(ids: Ids, found: npt.NDArray[np.intp], part: int) -> npt.NDArray[np.uint64]:
    """As many ids as 64 bits hold, from each position on, as one number; `part` is the key's."""
    width = ids.itemsize * 8
    count = KEY_BITS // width
    key = np.zeros(len(found), np.uint64)
    for k in range(part * count, (part + 1) * count):
        key = (key << np.uint64(width)) | ids[found + k]
    return key
