"""A text cut into words: the tokens of `tokenizer: "word"`, which put together are the text again.

A piece is a word or a run of punctuation, each with the one space before it if there is one, a run
of line ends, or any other white space alone. The space belongs to the word after it, so a sentence
takes half the tokens it would take with spaces of their own.
"""

import re
from collections import Counter
from collections.abc import Iterator

PIECES = re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\n+|\s")
#: Only the beginning of a piece can be white space, so a text may be cut where white space begins.
_CUT = re.compile(r"(?<=\S)\s")
#: Characters cut into pieces at a time: Python's own strings take fifty bytes a piece.
BLOCK_CHARACTERS = 1 << 20
#: A longer piece is spelled. It bounds what one token can add to a text.
LONGEST_WORD_CHARACTERS = 32
#: A piece that occurs once teaches nothing about itself.
LEAST_COUNT = 2


def pieces(text: str) -> Iterator[list[str]]:
    """The pieces of a text in order, some ten thousands at a time."""
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + BLOCK_CHARACTERS)
        end = cut.start() if cut else len(text)
        yield PIECES.findall(text, start, end)
        start = end


def whole_words(text: str) -> str:
    """A piece of a text without what its ends may have cut in two; all of it where nothing is left.

    It begins with white space and ends with what such a piece may follow.
    """
    cuts = [found.start() for found in _CUT.finditer(text)]
    return text[cuts[0] : cuts[-1]] if len(cuts) > 1 else text


def frequent_words(text: str, most: int) -> tuple[str, ...]:
    """The commonest pieces of two characters or more, the commonest first.

    Args:
        text: The corpus.
        most: How many at most. Equally common ones count in the order of their code points, so
            that a text always gives the same words.
    """
    counts: Counter[str] = Counter()
    for some in pieces(text):
        counts.update(some)
    found = [
        (-count, piece)
        for piece, count in counts.items()
        if count >= LEAST_COUNT and 1 < len(piece) <= LONGEST_WORD_CHARACTERS
    ]
    return tuple(piece for _, piece in sorted(found)[:most])
