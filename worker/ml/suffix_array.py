"""A suffix array of limited depth: a corpus's positions, sorted by the 16 characters from there on.

A search in it finds how many of the next 16 characters of a text occur in the corpus, and where.
All characters of many texts are searched for at once: a step of the search costs the same for one
and for hundreds. Nothing is hashed, so the results are exact.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from worker.ml.vocabulary import Ids, Vocabulary

#: Most pieces that a text shares with its corpus are shorter, so that few have to be extended.
DEPTH = 16
#: The id behind the end of a text and of characters that the corpus lacks; it matches nothing.
NO_MATCH = 0
#: Positions sorted at a time (more only if one character begins more); bounds the memory to build.
SORT_CHUNK = 1 << 20
KEY_BITS = 64
#: One in this many sorted positions has its first characters in a separate array, a byte per
#: character of the corpus. NumPy searches that array at once, which leaves few steps of the search.
SIGNPOST_EVERY = 8
#: Characters searched for at once; bounds the memory of a search.
SEARCH_CHUNK = 1 << 16

Indices = npt.NDArray[np.int64]
Grams = npt.NDArray[np.unsignedinteger]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Matches:
    """Where the characters of a text occur in a corpus; one entry for each character, [n].

    Attributes:
        reach: How many of the next `DEPTH` characters occur in the corpus, in one place.
        first: Where the first of the positions at which all `DEPTH` occur stands among the sorted
            ones; meaningless where fewer occur.
        last: The same of the one behind the last.
    """

    reach: Indices
    first: Indices
    last: Indices

    def __getitem__(self, part: slice) -> Self:
        """The entries of a part of the text."""
        return type(self)(self.reach[part], self.first[part], self.last[part])


class SuffixArray:
    """The sorted positions of a corpus; takes 6 to 9 bytes per character beside it."""

    def __init__(self, corpus: str) -> None:
        """Sort the positions of a corpus."""
        self._corpus = corpus
        whole = max(len(corpus) - DEPTH + 1, 0)
        #: The sorted positions.
        self.positions = array("I")
        self._characters = "".join(sorted(set(corpus)))
        padded = np.zeros(len(corpus) + DEPTH, _width(len(self._characters) + 1))
        if corpus:
            ids = Vocabulary(self._characters).encode(corpus)
            if whole:
                _append_sorted(ids, whole, self.positions)
            # Big-endian, so that ids in a row are compared as numbers.
            np.add(ids, 1, out=padded[: len(corpus)], casting="unsafe")
        #: The ids of `DEPTH` characters from each position on, a view [characters + 1, DEPTH].
        self._grams: Grams = sliding_window_view(padded, DEPTH)
        # The last positions are cut short by the end, and only Python's strings sort those right.
        for position in range(whole, len(corpus)):
            insort(self.positions, position, key=lambda p: corpus[p : p + DEPTH])
        signposts = np.arange(0, len(self.positions), SIGNPOST_EVERY)
        self._signposts = _as_keys(self._grams_at(signposts))[:, 0].copy()

    def search(self, texts: Sequence[str]) -> list[Matches]:
        """Search for the `DEPTH` characters from each character of some texts on."""
        encoded = [self._encode(text) for text in texts]
        if not encoded:
            return []
        # Big-endian still: NumPy would choose the machine's order.
        ids = np.concatenate(encoded, dtype=self._grams.dtype)
        ends = np.cumsum([len(each) for each in encoded]).tolist()
        starts = [end - len(each) for end, each in zip(ends, encoded, strict=True)]
        found = self._search(sliding_window_view(ids, DEPTH))
        return [found[start : start + len(text)] for start, text in zip(starts, texts, strict=True)]

    def range_of(self, piece: str) -> tuple[int, int]:
        """The range among the sorted positions of at most `DEPTH` characters; may be empty."""

        def beginning(position: int) -> str:
            return self._corpus[position : position + len(piece)]

        first = bisect_left(self.positions, piece, key=beginning)
        return first, bisect_right(self.positions, piece, lo=first, key=beginning)

    def _search(self, grams: Grams) -> Matches:
        if not self._corpus:
            nowhere = np.zeros(len(grams), np.int64)
            return Matches(nowhere, nowhere, nowhere)
        chunks = [
            self._search_chunk(grams[start : start + SEARCH_CHUNK])
            for start in range(0, len(grams), SEARCH_CHUNK)
        ]
        return Matches(
            np.concatenate([chunk.reach for chunk in chunks]),
            np.concatenate([chunk.first for chunk in chunks]),
            np.concatenate([chunk.last for chunk in chunks]),
        )

    def _search_chunk(self, grams: Grams) -> Matches:
        keys = _as_keys(grams)
        first = self._insertion_points(keys, "left")
        # The better match of the two neighbours decides.
        reach = np.zeros(len(grams), np.int64)
        for neighbour in (np.maximum(first - 1, 0), first):
            equal = (self._grams_at(neighbour) == grams) & (grams != NO_MATCH)
            np.maximum(reach, np.cumprod(equal, axis=1).sum(axis=1), out=reach)
        last = first.copy()
        whole = np.flatnonzero(reach == DEPTH)
        last[whole] = self._insertion_points(keys[whole], "right")
        return Matches(reach, first, last)

    def _insertion_points(self, keys: Keys, side: Literal["left", "right"]) -> Indices:
        """Where each gram belongs among the sorted ones: before its equals, or behind them."""
        first, last = self._bracket(keys)
        open_ = np.flatnonzero(first < last)
        while len(open_):
            middle = (first[open_] + last[open_]) // 2
            there = _as_keys(self._grams_at(middle))
            if side == "left":
                behind = _is_less(there, keys[open_])
            else:
                behind = ~_is_less(keys[open_], there)
            first[open_] = np.where(behind, middle + 1, first[open_])
            last[open_] = np.where(behind, last[open_], middle)
            open_ = open_[first[open_] < last[open_]]
        return first

    def _bracket(self, keys: Keys) -> tuple[Indices, Indices]:
        """Bounds [n] of the insertion points of grams, by the signposts."""
        # A signpost holds the first of a gram's numbers: those that share it decide nothing.
        before = np.searchsorted(self._signposts, keys[:, 0], "left")
        behind = np.searchsorted(self._signposts, keys[:, 0], "right")
        first = np.maximum((before - 1) * SIGNPOST_EVERY + 1, 0)
        return first, np.minimum(behind * SIGNPOST_EVERY, len(self.positions))

    def _encode(self, text: str) -> Grams:
        """The ids of a text, followed by NO_MATCH."""
        ids = np.zeros(len(text) + DEPTH, self._grams.dtype)
        if text and self._characters:
            known = np.array(list(map(ord, self._characters)), np.uint32)
            points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            at = np.minimum(np.searchsorted(known, points), len(known) - 1)
            ids[: len(text)] = np.where(known[at] == points, at + 1, NO_MATCH)
        return ids

    def _grams_at(self, indices: Indices) -> Grams:
        """The ids [n, DEPTH] at the positions of these indices, which are capped at the last."""
        positions = np.frombuffer(self.positions, np.uint32)
        grams: Grams = self._grams[positions[np.minimum(indices, len(positions) - 1)]]
        return grams


def _width(count: int) -> str:
    """The smallest big-endian unsigned type for this many ids."""
    return next(f">u{size}" for size in (1, 2, 4) if count <= 256**size)


def _as_keys(grams: Grams) -> Keys:
    """Grams [n, DEPTH] as numbers of the same order [n, 2, 4 or 8], most significant first."""
    return np.ascontiguousarray(grams).view(">u8").astype(np.uint64)


def _is_less(left: Keys, right: Keys) -> npt.NDArray[np.bool_]:
    """Whether each key of `left` comes before that of `right`, [n]."""
    less = left[:, -1] < right[:, -1]
    for part in reversed(range(left.shape[1] - 1)):
        a, b = left[:, part], right[:, part]
        less = (a < b) | (a == b) & less
    return less


def _append_sorted(ids: Ids, count: int, positions: "array[int]") -> None:
    """Append the positions 0 … count-1, sorted by the `DEPTH` ids from each on."""
    # In chunks, because NumPy counts in 8 bytes per character.
    parts = [ids[i : min(i + SORT_CHUNK, count)] for i in range(0, count, SORT_CHUNK)]
    starts = np.sum([np.bincount(part, minlength=int(ids.max()) + 1) for part in parts], axis=0)
    first = 0
    while first < len(starts):
        # As many first characters as fit, but at least one.
        fitting = int(np.searchsorted(np.cumsum(starts[first:]), SORT_CHUNK, side="right"))
        last = first + max(fitting, 1)
        found = np.flatnonzero((ids[:count] >= first) & (ids[:count] < last))
        keys = [_key(ids, found, part) for part in range(DEPTH * ids.itemsize * 8 // KEY_BITS)]
        positions.frombytes(found[np.lexsort(keys[::-1])].astype(np.uint32).tobytes())
        first = last


def _key(ids: Ids, found: npt.NDArray[np.intp], part: int) -> Keys:
    """As many ids as 64 bits hold, from each position on, as one number; `part` is the key's."""
    width = ids.itemsize * 8
    count = KEY_BITS // width
    key = np.zeros(len(found), np.uint64)
    for k in range(part * count, (part + 1) * count):
        key = (key << np.uint64(width)) | ids[found + k]
    return key
