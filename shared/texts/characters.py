"""Which characters texts may hold, and which spellings are the same text."""

import unicodedata
from collections.abc import Sequence
from typing import Literal

NormalForm = Literal["NFC", "NFD"]
FORMS: tuple[NormalForm, ...] = ("NFC", "NFD")

BOM = "\ufeff"
#: What ends a line, besides LF: CR LF, CR, NEL, and Unicode's line and paragraph separators.
LINE_ENDS = ("\r\n", "\r", "\x85", "\u2028", "\u2029")
#: U+0000, lone surrogates and noncharacters: a database, JSON or an encoder can't hold them.
FORBIDDEN = frozenset(
    chr(point)
    for point in (
        0,
        *range(0xD800, 0xE000),
        *range(0xFDD0, 0xFDF0),
        *(plane << 16 | end for plane in range(17) for end in (0xFFFE, 0xFFFF)),
    )
)


def forbidden_at(text: str) -> int | None:
    """The position of the first character that texts must not hold; None if there is none."""
    if text.isascii():
        position = text.find("\0")
        return position if position >= 0 else None
    found = FORBIDDEN.intersection(text)
    return min(map(text.index, found)) if found else None


def plain(text: str) -> str:
    """The text without U+FEFF, with LF as its only line end."""
    for end in LINE_ENDS:  # the first is the longest
        text = text.replace(end, "\n")
    return text.replace(BOM, "")


def has_form(text: str, form: NormalForm) -> bool:
    """Whether a text is in a normal form."""
    return unicodedata.is_normalized(form, text)


def clusters(text: str) -> list[str]:
    """The characters of a text, each with its combining marks."""
    found: list[str] = []
    for character in text:
        if found and unicodedata.category(character).startswith("M"):
            found[-1] += character
        else:
            found.append(character)
    return found


def spelled(cluster: str, known: frozenset[str], forms: Sequence[NormalForm]) -> str | None:
    """A character in the first spelling that a vocabulary has; None if it has none.

    Args:
        cluster: A character with its combining marks.
        known: The characters of the vocabulary.
        forms: The normal forms to try, before and after the spelling as it is given.
    """
    if cluster.isascii():
        return cluster if known.issuperset(cluster) else None
    first = [unicodedata.normalize(form, cluster) for form in forms]
    for spelling in (*first, cluster, *(unicodedata.normalize(form, cluster) for form in FORMS)):
        if known.issuperset(spelling):
            return spelling
    return None
