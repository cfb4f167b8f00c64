"""How natural a text reads, to tell right encodings of its bytes from wrong ones.

A wrong single-byte encoding swaps the case of letters, puts signs into words, or gives the letters
of another script; a wrong double-byte one gives characters that hardly anybody writes.
"""

import unicodedata
from itertools import pairwise

#: Characters beyond ASCII that are looked at: more change nothing.
LOOKED_AT = 4000
#: What the most frequent letters of a script make up of a text: half of it and more.
_FREQUENT = {
    "CYRILLIC": "оеаинтсрвлкмді",
    "GREEK": "αοιετσνηυρπκμλςάίέόή",
    "HEBREW": "יוהלאמתרבש",
    "ARABIC": "اليمنوتربهکی",
    "THAI": "านรกเงอมยลวดทสตะ่้",
}
#: Of Chinese and Korean characters, which are too many for any to be half of a text.
_FREQUENT_HAN = frozenset(
    "的一是不了人我在有他这這中大来來上国國个個到说說们們为為子和你地出道也时時年得就那要下以生会會自着著去之过過家学學对對"
    "可她里後后小么心多天而能好都然日"
)
_FREQUENT_HANGUL = frozenset("이다는의에가을고하지을를은한기로나도사어리그아해인시서대수자있니게일")
#: What never follows a letter, though what is no letter mostly may.
_NO_LETTERS = frozenset("„‚¤¦¬¯²³¹¼½¾¿¡ƒ†‡ˆ˜«")
_MARKS = frozenset("–—‘’“”„‚…•€«»§°·½¿¡")
#: How much an encoding gains by reading at all what few bytes can be: two for each character.
_DOUBLE_BYTE_GAIN = 0.2


def naturalness(text: str) -> float:
    """How natural characters beyond ASCII are: from 0.6 for a right reading, below 0 for junk."""
    odd = [character for character in text[: 16 * LOOKED_AT] if character > "\x7f"][:LOOKED_AT]
    if not odd:
        return 0.0
    frequent = wide = 0.0
    for character in odd:
        share, is_wide = _share(character)
        frequent += share
        wide += is_wide
    misplaced = sum(_is_misplaced(a, b) for a, b in pairwise(text[: 4 * LOOKED_AT]))
    gain = _DOUBLE_BYTE_GAIN * wide / len(odd)
    return frequent / len(odd) + gain - 2 * misplaced / len(odd)


def _share(character: str) -> tuple[float, bool]:
    """How much a character speaks for a reading, and whether it takes two bytes."""
    if "\u3040" <= character <= "\u30ff" or "\u3001" <= character <= "\u3011":
        return 0.9, True
    if "\u4e00" <= character <= "\u9fff":
        return (1.0 if character in _FREQUENT_HAN else 0.0), True
    if "\uac00" <= character <= "\ud7a3":
        return (1.0 if character in _FREQUENT_HANGUL else 0.0), True
    if character in _MARKS:
        return 0.6, False
    if not character.isalpha() and unicodedata.category(character)[0] != "M":
        return (0.0 if character != "\xa0" else 0.3), character > "\u2fff"
    script = unicodedata.name(character, "").partition(" ")[0]
    if script == "LATIN":
        return 0.6, False
    letters = _FREQUENT.get(script)
    if letters is None:
        return 0.0, character > "\u2fff"
    return (1.0 if character.lower() in letters else 0.0), False


def _is_misplaced(first: str, second: str) -> bool:
    """Whether a character beyond ASCII stands where the one before it does not allow it."""
    if first <= "\x7f" and second <= "\x7f":
        return False
    if first.isalpha() and second.isalpha() and (first <= "\x7f" or second <= "\x7f"):
        letter = max(first, second)
        wide = "\u3000" <= letter < "\uff00"
        if not wide and not unicodedata.name(letter, "").startswith("LATIN"):
            return True
    if not first.isalpha():
        # A sign between letters is counted once, where it follows a letter.
        return False
    if second.isalpha():
        return first.islower() and second.isupper()
    if second <= "\x7f":
        return False
    category = unicodedata.category(second)
    if category[0] == "M":
        return first <= "\x7f" and not unicodedata.name(second, "").startswith("COMBINING")
    return second in _NO_LETTERS or category in ("So", "Sm", "Sk", "Cc")
