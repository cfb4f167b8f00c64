"""The items of a list: which of them judge a training, and the windows within each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from worker.ml.config import ITEM_BEGIN, ITEM_END, TrainConfig
from worker.ml.holdout import MAX_PIECES, PIECES_STREAM, TooShort
from worker.ml.vocabulary import Ids, Vocabulary

#: Spans of items, [items, 2]: the place of an item's first token, `ITEM_BEGIN`, and the place
#: behind its last one, `ITEM_END`.
Spans = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ItemHoldout:
    """The held-out items of a list. The rest is trained on.

    Attributes:
        tokens: Tokens of the whole list.
        items: Number of its items.
        seed: What the held-out items were drawn by.
        held_out: The share of the tokens that they have at least.
        place: "spread" draws items, "tail" takes the last ones.
        parts: The items to train on.
        pieces: The held-out items, in up to `MAX_PIECES` groups, in the order of the list.
    """

    tokens: int
    items: int
    seed: int
    held_out: float
    place: str
    parts: Spans
    pieces: tuple[Spans, ...]

    @classmethod
    def from_meta(
        cls, meta: Mapping[str, Any], config: TrainConfig, ids: Ids, vocabulary: Vocabulary
    ) -> Self:
        """The held-out items that a checkpoint of this list names; drawn where it names none.

        Raises:
            TooShort: There are not two items.
        """
        spans = item_spans(ids, vocabulary)
        if len(spans) < 2:
            raise TooShort(len(ids), 2)
        drawn = (config.seed, config.held_out, config.holdout)
        stored = meta.get("holdout") or {}
        if (stored.get("tokens"), stored.get("items")) == (len(ids), len(spans)):
            drawn = (stored["seed"], stored["held_out"], stored["place"])
        seed, share, place = drawn
        order = np.arange(len(spans))[::-1]
        if place == "spread":
            key = [seed, PIECES_STREAM]
            order = np.random.Generator(np.random.Philox(key=key)).permutation(len(spans))
        lengths = (spans[:, 1] - spans[:, 0])[order]
        count = 1 + int(np.searchsorted(np.cumsum(lengths), share * len(ids)))
        held = np.zeros(len(spans), bool)
        held[order[: min(count, len(spans) - 1)]] = True
        pieces = np.array_split(spans[held], min(MAX_PIECES, int(held.sum())))
        return cls(len(ids), len(spans), seed, share, place, spans[~held], tuple(pieces))

    def as_dict(self) -> dict[str, Any]:
        """What names the held-out items, as JSON values."""
        names = ("tokens", "items", "seed", "held_out", "place")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> dict[str, Any]:
        """The groups of held-out items as JSON values: where each begins and ends."""
        pieces = [[int(piece[0, 0]), int(piece[-1, 1])] for piece in self.pieces]
        held = sum(map(len, self.pieces))
        return {"tokens": self.tokens, "pieces": pieces, "items": self.items, "held_items": held}


def item_spans(ids: Ids, vocabulary: Vocabulary) -> Spans:
    """The spans of all items."""
    first, last = map(vocabulary.characters.index, (ITEM_BEGIN, ITEM_END))
    return np.stack([np.flatnonzero(ids == first), np.flatnonzero(ids == last) + 1], axis=1)


def windows_of(spans: Spans, window: int) -> npt.NDArray[np.int64]:
    """The number of windows of each item: they lie side by side, and the last one may be short."""
    predictions: Spans = spans[:, 1] - spans[:, 0] - 1
    return -(-predictions // window)


def item_starts(
    spans: Spans, window: int, random: np.random.Generator | None = None
) -> npt.NDArray[np.int64]:
    """Start positions of the windows of items, in order.

    The first window of an item begins with it. The others begin up to as much earlier as the last
    one would be short, so that each epoch cuts a long item at other places.

    Args:
        spans: The items.
        window: Tokens in a window.
        random: Where to draw the places of the cuts from; None cuts as late as possible.
    """
    counts = windows_of(spans, window)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    starts: npt.NDArray[np.int64] = np.repeat(spans[:, 0], counts) + within * window
    if random is not None:
        slack = counts * window - (spans[:, 1] - spans[:, 0] - 1)
        shifts = np.repeat(random.integers(0, slack, endpoint=True), counts)
        starts -= np.where(within > 0, shifts, 0)
    return starts
