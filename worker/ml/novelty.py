"""How much of a text is copied: the longest piece that stands in the corpus, and its 8-grams.

All places of the corpus, sorted by the 8 characters from there on: a suffix array that looks no
further. One search in it tells how far a text's next 8 characters occur in the corpus, and where;
what is longer is compared at those places. Nothing is hashed, so every figure is exact.
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
#: Stands behind the end of a text, and for characters that the corpus lacks: it is like nothing.
NOTHING = 0
#: Places sorted at a time, more only where one character begins more; bounds the memory to build.
SORTED_AT_ONCE = 1 << 20
KEY_BITS = 64
#: Of so many sorted places one has its characters in an array of their own, an eighth of a byte a
#: character: NumPy finds the neighbours there at once, and few steps of the search are left.
SIGNPOST_EVERY = 64
#: So few places are compared at once; where an 8-gram has more, a rarer one is looked for.
FEW_PLACES = 64
#: Where even the rarest has more, the corpus is so repetitive that `str.find` soon finds a piece.
MANY_PLACES = 4000
#: Characters compared at a time.
AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Novelty:
    """What a text has from its corpus.

    Attributes:
        copied_characters: Length of its longest piece that stands in the corpus word for word.
        copied_at: Where in the text that piece begins; of several as long it is the first.
        copied_from: Where in the corpus, in characters; its first place there.
        known_grams: Share of the text's 8-grams that occur in the corpus; None where it is
            shorter than one.
    """

    copied_characters: int
    copied_at: int
    copied_from: int
    known_grams: float | None


class NoveltyIndex:
    """A corpus in which pieces of texts are found quickly; 5 to 8 bytes a character beside it."""

    def __init__(self, corpus: str) -> None:
        """Sort the places of a corpus, as the network read it: lower-cased where that was."""
        self._corpus = corpus
        whole = max(len(corpus) - GRAM + 1, 0)
        self._places = array("I")
        self._characters = "".join(sorted(set(corpus)))
        self._ids = np.zeros(len(corpus) + GRAM, _width(len(self._characters) + 1))
        if corpus:
            ids = Vocabulary(self._characters).encode(corpus)
            if whole:
                _sort(ids, whole, self._places)
            # Big-endian, so that 8 ids in a row are compared as numbers.
            np.add(ids, 1, out=self._ids[: len(corpus)], casting="unsafe")
        # The last ones are cut short by the corpus's end, which only Python's strings sort right.
        for place in range(whole, len(corpus)):
            insort(self._places, place, key=self._gram)
        places = np.frombuffer(self._places, np.uint32)
        self._signposts = _numbers(self._at(places, np.arange(0, len(places), SIGNPOST_EVERY)))

    @property
    def characters(self) -> int:
        """Length of the corpus."""
        return len(self._corpus)

    def look_up(self, text: str) -> Novelty:
        """What a text has from the corpus."""
        places, reach = self._find(text)
        # No piece from i on is longer than to where the first 8-gram from there on breaks off.
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
                found = self._longer(text[i : i + bound], known, places[i : i + known])
            if found > longest:
                longest, at = found, i
        count = len(text) - GRAM + 1
        return Novelty(
            copied_characters=longest,
            copied_at=at,
            copied_from=self._corpus.find(text[at : at + longest]),
            known_grams=reach.count(GRAM) / count if count > 0 else None,
        )

    def _find(self, text: str) -> tuple[list[int], list[int]]:
        """Of the 8 characters from each one on: their place, and how many occur in the corpus.

        The place among the sorted ones, or where they would stand. All are searched for at once:
        a step of the search costs the same for one and for hundreds.
        """
        if not text or not self._corpus:
            return [0] * len(text), [0] * len(text)
        grams = self._encoded(text)[np.arange(len(text))[:, None] + np.arange(GRAM)]
        keys = _numbers(grams)
        places = np.frombuffer(self._places, np.uint32)
        first, last = self._between(keys)
        while (open_ := first < last).any():
            middle = (first + last) // 2
            less = _is_less(_numbers(self._at(places, middle)), keys)
            first = np.where(open_ & less, middle + 1, first)
            last = np.where(open_ & ~less, middle, last)
        # As many as agree with the likest beside its place.
        beside = (self._at(places, np.maximum(first - 1, 0)), self._at(places, first))
        agree = [(each == grams) & (grams != NOTHING) for each in beside]
        reach = np.max([np.cumprod(each, axis=1).sum(axis=1) for each in agree], axis=0)
        return first.tolist(), reach.tolist()

    def _between(
        self, keys: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Between which of the sorted places some 8-grams stand, or would: first and last, [n]."""
        # Where 8 ids fill more than one number, all signposts of the same first one are passed.
        side: Literal["left", "right"] = "left" if keys.shape[1] == 1 else "right"
        before = np.searchsorted(self._signposts[:, 0], keys[:, 0], "left")
        behind = np.searchsorted(self._signposts[:, 0], keys[:, 0], side)
        first = np.maximum((before - 1) * SIGNPOST_EVERY + 1, 0)
        return first, np.minimum(behind * SIGNPOST_EVERY, len(self._places))

    def _encoded(self, text: str) -> npt.NDArray[np.unsignedinteger]:
        """The ids of a text, and NOTHING behind it."""
        known = np.array(list(map(ord, self._characters)), np.uint32)
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        at = np.minimum(np.searchsorted(known, points), len(known) - 1)
        ids = np.zeros(len(text) + GRAM, self._ids.dtype)
        ids[: len(text)] = np.where(known[at] == points, at + 1, NOTHING)
        return ids

    def _at(
        self, places: npt.NDArray[np.uint32], numbers: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.unsignedinteger]:
        """The 8 ids at the places of some numbers, [n, 8]; at the last one's for greater ones."""
        starts = places[np.minimum(numbers, len(places) - 1)].astype(np.int64)
        grams: npt.NDArray[np.unsignedinteger] = self._ids[starts[:, None] + np.arange(GRAM)]
        return grams

    def _gram(self, place: int) -> str:
        return self._corpus[place : place + GRAM]

    def _longer(self, text: str, known: int, places: Sequence[int]) -> int:
        """How much of a text's beginning occurs, if more than `known` characters do, else `known`.

        `places` are those of the 8-grams from each of its characters on, all of which occur.
        """
        piece = text[: known + 1]
        ahead, first, last = self._rarest(piece, places)
        if last - first > MANY_PLACES:
            while known < len(text) and (start := self._corpus.find(piece)) >= 0:
                known = self._agree(text, start, known + 1)
                piece = text[: known + 1]
            return known
        for place in self._places[first:last]:
            start = place - ahead
            if start >= 0 and self._corpus.startswith(piece, start):
                known = self._agree(text, start, known + 1)
                piece = text[: known + 1]
                if known == len(text):
                    break
        return known

    def _rarest(self, piece: str, places: Sequence[int]) -> tuple[int, int, int]:
        """An 8-gram of a piece that occurs seldom: its place in the piece, and its range."""
        rarest = (0, 0, len(self._places))
        for i in range(len(piece) - GRAM + 1):
            last = bisect_right(self._places, piece[i : i + GRAM], lo=places[i], key=self._gram)
            if last - places[i] < rarest[2] - rarest[1]:
                rarest = (i, places[i], last)
            if last - places[i] <= FEW_PLACES:
                break
        return rarest

    def _agree(self, text: str, start: int, known: int) -> int:
        """How far a text agrees with the corpus from a place on; `known` characters do."""
        while known < len(text):
            part = text[known : known + AT_ONCE]
            there = self._corpus[start + known : start + known + len(part)]
            if part != there:
                return known + _alike(part, there)
            known += len(part)
        return known


def _width(count: int) -> str:
    """The least unsigned type for so many ids, big-endian."""
    return next(f">u{size}" for size in (1, 2, 4) if count <= 256**size)


def _numbers(grams: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.uint64]:
    """8 ids each [n, 8] as numbers in the same order [n, 1, 2 or 4]; the first one counts most."""
    return np.ascontiguousarray(grams).view(">u8").astype(np.uint64)


def _is_less(ones: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether each row comes before the other's, [n]."""
    less = ones[:, -1] < others[:, -1]
    for part in reversed(range(ones.shape[1] - 1)):
        one, other = ones[:, part], others[:, part]
        less = (one < other) | (one == other) & less
    return less


def _alike(one: str, other: str) -> int:
    """Length of what both begin with."""
    for length, (here, there) in enumerate(zip(one, other, strict=False)):
        if here != there:
            return length
    return min(len(one), len(other))


def _sort(ids: Ids, count: int, places: "array[int]") -> None:
    """Append the places 0 … count-1 in the order of the 8 ids from each on."""
    # In pieces, because NumPy counts in 8 bytes a character.
    parts = [ids[i : min(i + SORTED_AT_ONCE, count)] for i in range(0, count, SORTED_AT_ONCE)]
    starts = np.sum([np.bincount(part, minlength=int(ids.max()) + 1) for part in parts], axis=0)
    first = 0
    while first < len(starts):
        # As many first characters as fit, one at least.
        fitting = int(np.searchsorted(np.cumsum(starts[first:]), SORTED_AT_ONCE, side="right"))
        last = first + max(fitting, 1)
        found = np.flatnonzero((ids[:count] >= first) & (ids[:count] < last))
        keys = [_key(ids, found, part) for part in range(GRAM * ids.itemsize * 8 // KEY_BITS)]
        order = np.argsort(keys[0]) if len(keys) == 1 else np.lexsort(keys[::-1])
        places.frombytes(found[order].astype(np.uint32).tobytes())
        first = last


def _key(ids: Ids, found: npt.NDArray[np.intp], part: int) -> npt.NDArray[np.uint64]:
    """The ids from each place on as one number, as many as 64 bits hold; `part` counts on."""
    width = ids.itemsize * 8
    held = KEY_BITS // width
    key = np.zeros(len(found), np.uint64)
    for k in range(part * held, (part + 1) * held):
        key = (key << np.uint64(width)) | ids[found + k]
    return key
