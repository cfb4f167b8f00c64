"""Characters that act on a terminal or hide in a line, instead of being shown."""

import re
import unicodedata

#: Zero-width non-joiner and joiner: Persian, Indic scripts and emoji are written with them.
JOINERS = "\u200c\u200d"
#: C0 and C1 controls but tab and newline; line and paragraph separators; bidi marks, embeddings,
#: overrides and isolates.
_ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_REFUSED_IN_NAMES = frozenset({"Cc", "Zl", "Zp", "Cf"})
#: Letters, marks, and the symbols that emoji and their skin tones are.
_JOINABLE = ("L", "M", "So", "Sk")


def visible(text: str) -> str:
    """Replace each character that would act on a terminal with a visible mark.

    Controls below U+0020 and U+007F become their pictures, such as ␛. Others become their code,
    such as <U+202E>.
    """
    return _ACTING.sub(_mark, text)


def escaped_in_json(document: str) -> str:
    """Replace these characters in a JSON document with JSON's own escapes: the value is the same.

    JSON allows none of the controls below U+0020 in strings, and escapes them itself.
    """
    return _ACTING.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def hidden_in_name(name: str) -> str | None:
    """Return the first character that a name must not contain, or None.

    Controls, separators of lines and format characters are refused, except a joiner between
    letters, marks or emoji.
    """
    for index, character in enumerate(name):
        if unicodedata.category(character) not in _REFUSED_IN_NAMES:
            continue
        if character in JOINERS and _joins(name, index):
            continue
        return character
    return None


def _joins(name: str, index: int) -> bool:
    neighbours = name[index - 1 : index] + name[index + 1 : index + 2]
    return len(neighbours) == 2 and all(
        unicodedata.category(neighbour).startswith(_JOINABLE) for neighbour in neighbours
    )


def _mark(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"
