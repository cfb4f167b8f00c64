"""Which tokens of a text judge its training: pieces that no window of the training touches."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np

from worker.ml.config import TrainConfig, held_out_characters, minimum_characters
from worker.ml.vocabulary import Ids, Vocabulary

#: The random stream of the pieces' places: after that of the initial weights (model.py).
PIECES_STREAM = 2**63 + 1
#: The most pieces of a text. More would show no more of it, and each costs the training a window.
MAX_PIECES = 20
#: The least windows of a piece, since the first tokens of each window have little to go by.
MIN_PIECE_WINDOWS = 4

#: The random stream of the order in which the held-out lines of a list judge. It has one seed, so
#: that trainings from one another are judged alike.
LINES_STREAM = 2**63 + 2
#: The least lines in a window of a text that is a list.
MIN_LINES_IN_WINDOW = 6
#: Tokens searched for the ends of lines at a time.
SEARCHED_TOKENS = 1 << 20

#: A range of tokens: its first, and the one after its last.
Span = tuple[int, int]


class TooShort(ValueError):
    """The text has {tokens} tokens; this training needs at least {minimum}."""

    def __init__(self, tokens: int, minimum: int) -> None:
        super().__init__(
            f"the text has {tokens:,} tokens (characters, or words with the word tokenizer); "
            f"this training needs at least {minimum:,}"
        )
        self.tokens = tokens
        self.minimum = minimum


class WindowTooLong(ValueError):
    """A kept piece, or what lies between two, has {longest} tokens; the window needs more."""

    def __init__(self, window: int, longest: int) -> None:
        super().__init__(
            f"the window has {window:,} tokens; with the held-out pieces of the checkpoint's "
            f"training, which a training on the same text keeps, it may have {longest - 1:,} at "
            "most"
        )


@dataclass(frozen=True, slots=True)
class Holdout:
    """The held-out pieces of a text; the parts between them are trained on.

    Attributes:
        tokens: Tokens of the whole text.
        pieces: The pieces, in the order of the text.

    Raises:
        ValueError: The pieces are not in order within the text.
    """

    tokens: int
    pieces: tuple[Span, ...]

    def __post_init__(self) -> None:
        bounds = [0, *(bound for piece in self.pieces for bound in piece), self.tokens]
        if not self.pieces or any(first > second for first, second in pairwise(bounds)):
            raise ValueError(f"{self.pieces} are no pieces of a text of {self.tokens} tokens")

    @classmethod
    def draw(cls, config: TrainConfig, tokens: int, windows: int = MIN_PIECE_WINDOWS) -> Self:
        """Choose the pieces of a text by the config's `holdout`, `held_out` and `seed`.

        Pieces that are spread lie one in each of equal stretches of the text, so that none of its
        kinds is missed, and at a random place of it, so that no rhythm of the text decides. A text
        too short for two of them keeps the tail.

        Args:
            config: The training's config.
            tokens: Tokens of the text.
            windows: The least windows of a piece; see `least_windows`.

        Raises:
            TooShort: The tail or the rest would not hold a window and the token after it.
        """
        count = held_out_characters(tokens, config.held_out)
        if min(count, tokens - count) <= config.window:
            raise TooShort(tokens, minimum_characters(config))
        pieces = min(MAX_PIECES, count // (windows * config.window + 1))
        if config.holdout == "tail" or pieces < 2:
            return cls(tokens, ((tokens - count, tokens),))
        random = np.random.Generator(np.random.Philox(key=[config.seed, PIECES_STREAM]))
        stretches = np.linspace(0, tokens, pieces + 1).astype(int)
        lengths = np.diff(np.linspace(0, count, pieces + 1).astype(int))
        slack = np.diff(stretches) - lengths
        firsts = stretches[:-1] + random.integers(0, slack, endpoint=True)
        spans = zip(firsts.tolist(), (firsts + lengths).tolist(), strict=True)
        return cls(tokens, tuple(spans))

    @classmethod
    def from_meta(
        cls,
        meta: Mapping[str, Any],
        config: TrainConfig,
        tokens: int,
        windows: int = MIN_PIECE_WINDOWS,
    ) -> Self:
        """The pieces that a checkpoint of this text names; drawn where it names none.

        Args:
            meta: The checkpoint's `meta`; empty without a checkpoint.
            config: The training's config.
            tokens: Tokens of the text. A checkpoint of a text with more or fewer names other
                tokens, so that its pieces mean nothing here.
            windows: As for `draw`.

        Raises:
            TooShort: As for `draw`.
            WindowTooLong: The checkpoint's pieces, or the parts between them, hold no window.
        """
        stored = meta.get("holdout")
        if stored is None or stored["tokens"] != tokens or "pieces" not in stored:
            return cls.draw(config, tokens, windows)
        holdout = cls(tokens, tuple((first, end) for first, end in stored["pieces"]))
        longest = min(_longest(holdout.pieces), _longest(holdout.parts))
        if longest <= config.window:
            raise WindowTooLong(config.window, longest)
        return holdout

    @property
    def parts(self) -> tuple[Span, ...]:
        """What is trained on, in the order of the text."""
        bounds = [0, *(bound for piece in self.pieces for bound in piece), self.tokens]
        spans = zip(bounds[::2], bounds[1::2], strict=True)
        return tuple((first, end) for first, end in spans if first < end)

    def shuffled_lines(self, ids: Ids, vocabulary: Vocabulary, window: int) -> Ids | None:
        """The whole lines of the pieces in random order, if the text is a list of short lines.

        In a list that is sorted, or grouped, the lines before a held-out line give it away: a
        network that has memorized their neighbours predicts it ever better, and knows ever less of
        lines that stand nowhere in the list. Among lines from elsewhere it shows what it knows.

        Args:
            ids: The text.
            vocabulary: The meaning of the ids.
            window: Tokens in a window.

        Returns:
            The ids of the lines; None if the text is no list of characters, or has only a tail to
            judge it.
        """
        if len(self.pieces) < 2 or vocabulary.words or "\n" not in vocabulary.characters:
            return None
        line_end, lines = vocabulary.characters.index("\n"), []
        for first, end in self.pieces:
            bounds = 1 + np.flatnonzero(ids[first:end] == line_end)
            lines += [ids[first + a : first + b] for a, b in pairwise(bounds.tolist())]
        if len(lines) < MIN_LINES_IN_WINDOW or sum(map(len, lines)) <= window:
            return None
        if MIN_LINES_IN_WINDOW * np.median([len(line) for line in lines]) > window:
            return None
        random = np.random.Generator(np.random.Philox(key=[0, LINES_STREAM]))
        return np.concatenate([lines[place] for place in random.permutation(len(lines))])

    def describe(self) -> dict[str, Any]:
        """The pieces as JSON values, for the history of the training."""
        return self.as_dict()

    def as_dict(self) -> dict[str, Any]:
        """The pieces as JSON values."""
        return {"tokens": self.tokens, "pieces": [list(piece) for piece in self.pieces]}


def least_windows(ids: Ids, vocabulary: Vocabulary, window: int) -> int:
    """The least windows of a held-out piece of a text: one if the text is a list of short lines.

    What judges a list are its held-out lines in random order, and not the windows of the pieces.
    In few pieces, all of them would be neighbours in a sorted list, like few of the others.
    """
    if vocabulary.words or "\n" not in vocabulary.characters:
        return MIN_PIECE_WINDOWS
    line_end = vocabulary.characters.index("\n")
    starts = range(0, len(ids), SEARCHED_TOKENS)
    lines = sum(
        np.count_nonzero(ids[start : start + SEARCHED_TOKENS] == line_end) for start in starts
    )
    return 1 if lines * window >= MIN_LINES_IN_WINDOW * len(ids) else MIN_PIECE_WINDOWS


def _longest(spans: tuple[Span, ...]) -> int:
    return max((end - first for first, end in spans), default=0)
