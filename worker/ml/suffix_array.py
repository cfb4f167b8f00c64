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
#: Ids, big-endian, so that ids in a row are compared as numbers.
Encoded = npt.NDArray[np.unsignedinteger]
#: Grams of `DEPTH` ids as numbers of the same order, [n, 2, 4 or 8], most significant first.
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Matches:
    """Where the characters of a text occur in a corpus; one entry for each character, [n].

    Attributes:
        reach: How many of the next `DEPTH` characters occur in the corpus, in one place.
        bounds: How long the match from here on may be. It ends at the latest where the first
            incomplete gram from here on breaks off.
        first: Where the first of the positions at which all `DEPTH` occur stands among the sorted
            ones; meaningless where fewer occur.
        last: The same of the one behind the last.
    """

    reach: Indices
    bounds: Indices
    first: Indices
    last: Indices

    def __getitem__(self, part: slice) -> Self:
        """The entries of a part of the text."""
        return type(self)(self.reach[part], self.bounds[part], self.first[part], self.last[part])


class SuffixArray:
    """The sorted positions of a corpus; takes 6 to 9 bytes per character beside it."""

    def __init__(self, corpus: str) -> None:
        """Sort the positions of a corpus."""
        self._corpus = corpus
        whole = max(len(corpus) - DEPTH + 1, 0)
        #: The sorted positions.
        self.positions = array("I")
        characters = "".join(sorted(set(corpus)))
        self._points = np.array(list(map(ord, characters)), np.uint32)
        padded = np.zeros(len(corpus) + DEPTH, _width(len(characters) + 1))
        if corpus:
            ids = Vocabulary(characters).encode(corpus)
            if whole:
                _append_sorted(ids, whole, self.positions)
            np.add(ids, 1, out=padded[: len(corpus)], casting="unsafe")
        self._padded = padded
        self._grams = _grams(padded)
        # The last positions are cut short by the end, and only Python's strings sort those right.
        for position in range(whole, len(corpus)):
            insort(self.positions, position, key=lambda p: corpus[p : p + DEPTH])
        signposts = np.arange(0, len(self.positions), SIGNPOST_EVERY)
        self._signposts = self._keys_at(signposts)[:, 0].copy()

    def search(self, texts: Sequence[str]) -> list[Matches]:
        """Search for the `DEPTH` characters from each character of some texts on."""
        if not texts:
            return []
        ids, starts = self._encode(texts)
        found = self._search(ids)
        return [found[start : start + len(text)] for start, text in zip(starts, texts, strict=True)]

    def range_of(self, piece: str) -> tuple[int, int]:
        """The range among the sorted positions of at most `DEPTH` characters; may be empty."""

        def beginning(position: int) -> str:
            return self._corpus[position : position + len(piece)]

        first = bisect_left(self.positions, piece, key=beginning)
        return first, bisect_right(self.positions, piece, lo=first, key=beginning)

    def _encode(self, texts: Sequence[str]) -> tuple[Encoded, list[int]]:
        """The ids of texts in a row, each followed by NO_MATCH, and where each begins."""
        ends = np.cumsum([len(text) + DEPTH for text in texts])
        starts = [end - DEPTH - len(text) for end, text in zip(ends.tolist(), texts, strict=True)]
        ids = np.zeros(ends[-1], self._padded.dtype)
        if len(self._points):
            padding = "\0" * DEPTH
            joined = "".join([part for text in texts for part in (text, padding)])
            points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
            at = np.searchsorted(self._points, points)
            np.minimum(at, len(self._points) - 1, out=at)
            np.multiply(at + 1, self._points[at] == points, out=ids, casting="unsafe")
            # The corpus may hold the character of the padding.
            ids[(ends[:, None] - np.arange(1, DEPTH + 1)).ravel()] = NO_MATCH
        return ids, starts

    def _search(self, ids: Encoded) -> Matches:
        count = len(ids)
        here = np.arange(count)
        first, last = np.zeros(count, np.int64), np.zeros(count, np.int64)
        reach = np.zeros(count, np.int64)
        grams, known = _grams(ids), np.flatnonzero(ids != NO_MATCH)
        for start in range(0, len(known), SEARCH_CHUNK):
            chunk = known[start : start + SEARCH_CHUNK]
            reach[chunk], first[chunk], last[chunk] = self._search_chunk(_keys(grams[chunk]))
        # What follows the end of a text, and what the corpus lacks, equals the corpus's padding.
        np.minimum(reach, _next(ids == NO_MATCH, here) - here, out=reach)
        ends = _next(reach < DEPTH, here)
        return Matches(reach, ends - here + reach[ends], first, last)

    def _search_chunk(self, keys: Keys) -> tuple[Indices, Indices, Indices]:
        """The `reach` of grams, too long where they hold NO_MATCH, and their `first` and `last`."""
        first = self._insertion_points(keys, "left")
        # The better match of the two neighbours decides.
        width = self._padded.itemsize
        reach = np.maximum(
            _common(keys, self._keys_at(np.maximum(first - 1, 0)), width),
            _common(keys, self._keys_at(first), width),
        )
        last = first.copy()
        whole = np.flatnonzero(reach == DEPTH)
        last[whole] = self._insertion_points(keys[whole], "right")
        return reach, first, last

    def _insertion_points(self, keys: Keys, side: Literal["left", "right"]) -> Indices:
        """Where each gram belongs among the sorted ones: before its equals, or behind them."""
        first, last = self._bracket(keys)
        open_ = np.flatnonzero(first < last)
        while len(open_):
            middle = (first[open_] + last[open_]) // 2
            there = self._keys_at(middle)
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
        leading = keys[:, 0]
        before = np.searchsorted(self._signposts, leading, "left")
        behind = before.copy()
        # Few are a signpost's themselves.
        at = np.minimum(before, len(self._signposts) - 1)
        equal = np.flatnonzero(self._signposts[at] == leading)
        behind[equal] = np.searchsorted(self._signposts, leading[equal], "right")
        first = np.maximum((before - 1) * SIGNPOST_EVERY + 1, 0)
        return first, np.minimum(behind * SIGNPOST_EVERY, len(self.positions))

    def _keys_at(self, indices: Indices) -> Keys:
        """The grams at the positions of these indices, which are capped at the last."""
        positions = np.frombuffer(self.positions, np.uint32)
        return _keys(self._grams[positions[np.minimum(indices, len(positions) - 1)]])


def _grams(ids: Encoded) -> npt.NDArray[np.void]:
    """The bytes of the `DEPTH` ids from each on, a view: copied as one, they cost a third."""
    width = ids.itemsize
    return np.ndarray(len(ids) - DEPTH + 1, f"V{DEPTH * width}", ids, strides=(width,))


def _keys(grams: npt.NDArray[np.void]) -> Keys:
    """Grams [n] as numbers."""
    return grams.view(">u8").reshape(len(grams), grams.itemsize // 8).astype(np.uint64)


def _next(marks: npt.NDArray[np.bool_], here: Indices) -> Indices:
    """Where the next mark is from each place on, itself included. The last one is marked."""
    places = np.where(marks, here, len(here))
    found: Indices = np.minimum.accumulate(places[::-1])[::-1]
    return found


def _common(left: Keys, right: Keys, width: int) -> Indices:
    """How many ids of so many bytes two keys begin with together, [n]."""
    differing = left ^ right
    first = (differing.astype(">u8").view(np.uint8).reshape(len(left), -1) != 0).argmax(axis=1)
    common: Indices = np.where(differing.any(axis=1), first // width, DEPTH)
    return common


def _width(count: int) -> str:
    """The smallest big-endian unsigned type for this many ids."""
    return next(f">u{size}" for size in (1, 2, 4) if count <= 256**size)


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
