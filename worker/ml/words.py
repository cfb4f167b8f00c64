"""Splits text into pieces, the tokens of `tokenizer: "word"`; joined, they give the text again.

A piece is a word with its marks or a run of punctuation, each with one space before it if there is
one; a run of line ends; or any other single white-space character. Spaces belong to the word after
them, so a sentence takes half the tokens that it would with separate spaces.
"""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Combining marks (Mn, Mc, Me), as the inside of a character class: vowel signs, viramas, accents.
MARKS = "".join(
    chr(point) for point in range(sys.maxunicode) if unicodedata.category(chr(point))[0] == "M"
)
_WORD = rf"\w[\w{MARKS}]*"


@dataclass(frozen=True, slots=True)
class WordRules:
    """How a text is cut into pieces.

    Attributes:
        pieces: Matches one piece.
        piece_end: Matches where a word surely ends, so that a text may be cut there: before white
            space, or before punctuation, which works for texts written without spaces too.
    """

    pieces: re.Pattern[str]
    piece_end: re.Pattern[str]


#: By the number that checkpoints store. Rules never change, because a model's words depend on them.
RULES = {
    1: WordRules(
        re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\n+|\s"),
        re.compile(r"(?<=\S)(?=\s)|(?<=\w)(?=[^\w\s'’])"),
    ),
    # A word keeps its combining marks, and a ZWNJ or ZWJ between two letters.
    2: WordRules(
        re.compile(rf" ?{_WORD}(?:['’]{_WORD}|[\u200c\u200d]+[\w{MARKS}]+)*| ?[^\w\s]+|\n+|\s"),
        re.compile(rf"(?<=\S)(?=\s)|(?<=\w)(?=[^\w\s'’\u200c\u200d{MARKS}])"),
    ),
}
NEWEST_RULES = max(RULES)
#: White space can only begin a piece, so a text may be cut where white space begins.
_SPACE_START = re.compile(r"(?<=\S)\s")
#: Characters split at a time: as Python strings, pieces take fifty bytes each.
BLOCK_CHARACTERS = 1 << 20
#: A longer piece is spelled by characters. It bounds what one token can add to a text.
LONGEST_WORD_CHARACTERS = 32
#: A piece that occurs only once cannot be learned.
LEAST_COUNT = 2
#: Distinct pieces counted at a time, about 60 MB; beyond that, the rarest are dropped.
COUNTED_PIECES = 1 << 18


def blocks(texts: Iterable[str], rules: int = NEWEST_RULES) -> Iterator[str]:
    """Regroup a text that comes in parts into blocks that end where pieces end.

    The blocks depend only on the text, not on its parts.
    """
    piece_end = RULES[rules].piece_end
    rest, position = "", BLOCK_CHARACTERS
    for text in texts:
        rest += text
        start = 0
        # The next part may extend the piece of the last character, so never cut at the very end.
        while cut := piece_end.search(rest, position, len(rest)):
            yield rest[start : cut.start()]
            start = cut.start()
            position = start + BLOCK_CHARACTERS
        rest, position = rest[start:], max(BLOCK_CHARACTERS, len(rest) - start)
    if rest:
        yield rest


def pieces(text: str, rules: int = NEWEST_RULES) -> Iterator[list[str]]:
    """The pieces of a text in order, tens of thousands at a time."""
    return map(RULES[rules].pieces.findall, blocks([text], rules))


def whole_words(text: str) -> str:
    """Drop the words that the ends of an excerpt may have cut; keep it all if nothing is left.

    The result begins with white space and ends before white space.
    """
    cuts = [found.start() for found in _SPACE_START.finditer(text)]
    return text[cuts[0] : cuts[-1]] if len(cuts) > 1 else text


def frequent_words(texts: Iterable[str], most: int, rules: int = NEWEST_RULES) -> tuple[str, ...]:
    """The most frequent pieces of at least two characters, the most frequent first.

    If a text has more distinct pieces than `COUNTED_PIECES`, the rarest are dropped on the way and
    counted anew if they occur again.

    Args:
        texts: The corpus, in parts.
        most: The most pieces to return. Equally frequent ones are ordered by code point, so a
            text always gives the same words.
        rules: How the text is cut into pieces; a key of `RULES`.
    """
    counts: Counter[str] = Counter()
    for block in blocks(texts, rules):
        found = RULES[rules].pieces.findall(block)
        counts.update(piece for piece in found if 1 < len(piece) <= LONGEST_WORD_CHARACTERS)
        if len(counts) > COUNTED_PIECES:
            counts = _most_frequent(counts, COUNTED_PIECES // 2)
    ranked = sorted((-count, piece) for piece, count in counts.items() if count >= LEAST_COUNT)
    return tuple(piece for _, piece in ranked[:most])


def _most_frequent(counts: "Counter[str]", most: int) -> "Counter[str]":
    """At most `most` of the most frequent pieces; equally frequent ones stay or go together."""
    least = sorted(counts.values(), reverse=True)[most]
    return Counter({piece: count for piece, count in counts.items() if count > least})
