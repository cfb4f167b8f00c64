"""A text cut into words: the tokens of `tokenizer: "word"`, which put together are the text again.

A piece is a word or a run of punctuation, each with the one space before it if there is one, a run
of line ends, or any other white space alone. The space belongs to the word after it, so a sentence
takes half the tokens it would take with spaces of their own.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

PIECES = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\n+|\s")
#: Only the beginning of a piece can be white space, so a text may be cut where white space begins.
_CUT = re.compile(r"(?<=\S)\s")
#: And where a word ends, which also texts do that are written without spaces.
_BETWEEN = re.compile(r"(?<=\S)(?=\s)|(?<=\w)(?=[^\w\s'’])")
#: Characters cut into pieces at a time: Python's own strings take fifty bytes a piece.
BLOCK_CHARACTERS = 1 << 20
#: A longer piece is spelled. It bounds what one token can add to a text.
LONGEST_WORD_CHARACTERS = 32
#: A piece that occurs once teaches nothing about itself.
LEAST_COUNT = 2
#: Different pieces counted at a time, some 60 MB of them; beyond it the rarest are forgotten.
COUNTED_PIECES = 1 << 18


def blocks(texts: Iterable[str]) -> Iterator[str]:
    """A text that comes in parts, parted anew where pieces end.

    Where, only the text itself decides, not how it came.
    """
    rest, looked_at = "", BLOCK_CHARACTERS
    for text in texts:
        rest += text
        start = 0
        # What follows the last character may change what it belongs to.
        while cut := _BETWEEN.search(rest, looked_at, len(rest)):
            yield rest[start : cut.start()]
            start = cut.start()
            looked_at = start + BLOCK_CHARACTERS
        rest, looked_at = rest[start:], max(BLOCK_CHARACTERS, len(rest) - start)
    if rest:
        yield rest


def pieces(text: str) -> Iterator[list[str]]:
    """The pieces of a text in order, some ten thousands at a time."""
    return map(PIECES.findall, blocks([text]))


def whole_words(text: str) -> str:
    """A piece of a text without what its ends may have cut in two; all of it where nothing is left.

    It begins with white space and ends with what such a piece may follow.
    """
    cuts = [found.start() for found in _CUT.finditer(text)]
    return text[cuts[0] : cuts[-1]] if len(cuts) > 1 else text


def frequent_words(texts: Iterable[str], most: int) -> tuple[str, ...]:
    """The commonest pieces of two characters or more, the commonest first.

    Of a text with more different pieces than `COUNTED_PIECES` those that were rare so far are
    forgotten on the way, and counted anew where they come again.

    Args:
        texts: The corpus, in parts.
        most: How many at most. Equally common ones count in the order of their code points, so
            that a text always gives the same words.
    """
    counts: Counter[str] = Counter()
    for block in blocks(texts):
        some = PIECES.findall(block)
        counts.update(piece for piece in some if 1 < len(piece) <= LONGEST_WORD_CHARACTERS)
        if len(counts) > COUNTED_PIECES:
            counts = _commonest(counts, COUNTED_PIECES // 2)
    found = [(-count, piece) for piece, count in counts.items() if count >= LEAST_COUNT]
    return tuple(piece for _, piece in sorted(found)[:most])


def _commonest(counts: "Counter[str]", most: int) -> "Counter[str]":
    """The commonest, `most` at most; of equally common ones all or none."""
    least = sorted(counts.values(), reverse=True)[most]
    return Counter({piece: count for piece, count in counts.items() if count > least})
