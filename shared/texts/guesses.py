"""Which encoding bytes are probably in, with a line of the text as it would read."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.texts.encodings import SINGLE_BYTE, known_encoding
from shared.texts.findings import UnknownEncoding
from shared.texts.readings import LOOKED_AT, naturalness

MOST_GUESSES = 3
#: charset-normalizer reads this much; a line around the first odd byte is in it.
SAMPLE_BYTES = 256 * 1024
LINE_CHARACTERS = 60
#: Tried besides what the library guesses, the most usual first.
USUAL = (
    *(
        "cp1252",
        "iso8859-15",
        "cp1250",
        "iso8859-2",
        "cp1251",
        "koi8-r",
        "cp866",
        "mac_roman",
        "cp850",
    ),
    *("cp1254", "cp1253", "cp1255", "cp1256", "cp1257", "cp874"),
    *("gb18030", "big5", "cp932", "euc-jp", "cp949"),
)
#: One reading is right and another wrong if their naturalness differs by more than this.
FAR_MORE = 0.25
#: A reading that is as natural as this is not questioned.
NATURAL = 0.5
#: Fewer bytes beyond ASCII tell nothing.
ENOUGH_BYTES = 20
#: The pages that UTF-8 is mostly misread in.
MISREAD_AS = ("cp1252", "latin-1", "cp1251", "cp1250", "koi8-r", "cp866", "mac_roman")
#: The pages in which most bytes above ASCII are accented Latin letters.
WESTERN = ("latin-1", "cp1252", "iso8859-15", "cp1254", "iso8859-9")
_ODD = re.compile(rb"[\x80-\xff]")
_C1 = re.compile("[\x80-\x9f]")
#: UTF-8 read as cp1252: Ã©, â€™. Three of them are no coincidence.
MOJIBAKE = re.compile("[ÃÂ][\x80-\xbf‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\x80-\xbf™œ“”˜¦]")


#: Mojibake is told from this many pairs on.
LEAST_MOJIBAKE = 3


@dataclass(frozen=True, slots=True)
class Guess:
    """An encoding that the bytes may be in, and how a line of them would read."""

    encoding: str
    line: str

    def sentence(self) -> str:
        """The guess as a way out."""
        return f"declare encoding={self.encoding}, which reads «{self.line}»"


def wide_guess(data: bytes) -> str | None:
    """UTF-16 or UTF-32 without a BOM, from where its zero bytes are; None if it is neither."""
    sample = data[: SAMPLE_BYTES // 4 * 4]
    if len(sample) < 8 or b"\0" not in sample:
        return None
    return _wide_by_zeros(sample) or _wide_by_reading(sample)


def _wide_by_zeros(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 of mostly ASCII."""
    shares = [sample[place::4].count(0) / len(sample[place::4]) for place in range(4)]
    zero = [share > 0.6 for share in shares]
    if zero[1] and zero[2] and zero[3] and not zero[0]:
        return "utf-32-le"
    if zero[0] and zero[1] and zero[2] and not zero[3]:
        return "utf-32-be"
    odd = sample[1::2].count(0) / len(sample[1::2])
    even = sample[0::2].count(0) / len(sample[0::2])
    if odd > 0.3 and odd > 4 * even:
        return "utf-16-le"
    if even > 0.3 and even > 4 * odd:
        return "utf-16-be"
    return None


def _wide_by_reading(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 of another script: what reads as letters, spaces and line ends."""
    for name, size in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        try:
            text = sample[: len(sample) // size * size].decode(name)
        except UnicodeDecodeError:
            continue
        kinds = Counter(unicodedata.category(character)[0] for character in text[:LOOKED_AT])
        kinds["C"] -= sum(map(text[:LOOKED_AT].count, "\n\r\t\ufeff"))
        if kinds["C"] <= 0 and kinds["L"] > 0.5 * kinds.total() and _is_of_one_script(text):
            return name
    return None


def _is_of_one_script(text: str) -> bool:
    """Whether characters come from few blocks, as those of no text in the wrong order do."""
    letters = [character for character in text[:LOOKED_AT] if character.isalpha()]
    usual = sum(
        character < "\u1000" or "\u3000" <= character < "\ua000" or "\uac00" <= character < "\ud7a4"
        for character in letters
    )
    natural = sum(character in " \n、。，．,." for character in text[:LOOKED_AT])
    return usual > 0.98 * len(letters) and natural > 0


def guesses(data: bytes, *without: str) -> list[Guess]:
    """The likeliest encodings of bytes that are not UTF-8, the likeliest first."""
    return [guess for _, guess in _rated(data, without)]


def better_guesses(data: bytes, declared: str) -> list[Guess]:
    """Encodings in which bytes read far more naturally than in the declared one."""
    sample = _sample(data)
    read = _read(sample, declared)
    if read is None or len(_ODD.findall(sample)) < ENOUGH_BYTES:
        return []
    rating = naturalness(read)
    if rating >= NATURAL:
        return []
    least = rating + FAR_MORE
    return [guess for rating, guess in _rated(data, (declared,)) if rating > least]


def _rated(data: bytes, without: Sequence[str]) -> list[tuple[float, Guess]]:
    """The most natural readings, each with its naturalness."""
    sample = _sample(data)
    found: dict[str, tuple[float, str]] = {}
    for name in dict.fromkeys((*_names(sample), *USUAL)):
        text = None if name in without else _read(sample, name)
        if text is not None and len(MOJIBAKE.findall(text)) < LEAST_MOJIBAKE:
            # Of encodings that read the same, the first usual one is named.
            rating, named = found.get(text) or (naturalness(text), name)
            found[text] = (rating, name if named not in USUAL and name in USUAL else named)
    # Of about equally natural ones, usual ones come first, and then the library's favourites.
    rated = sorted(found.values(), key=lambda entry: (-round(entry[0], 1), entry[1] not in USUAL))
    rated = rated[:MOST_GUESSES]
    return [
        (rating, Guess(name, _line(sample, name)))
        for rating, name in rated
        if rating > rated[0][0] - FAR_MORE
    ]


def is_misread_as_western(data: bytes, name: str) -> bool:
    """Whether a text reads as rows of accented letters: «Âñå ñ÷àñòëèâûå» for Russian."""
    return name in WESTERN and _is_rows_of_accents(_read(_sample(data), name) or "")


def was_misread(text: str) -> bool:
    """Whether a text was once read in a wrong encoding: «Р’СЃРµ» or «Âñå» for «Все»."""
    lines = [line for line in text.split("\n") if not line.isascii()]
    again = sum(any(_is_utf_8_in(line, page) for page in MISREAD_AS) for line in lines)
    accented = sum(map(_is_accented, text))
    return (bool(again) and 2 * again > len(lines)) or (
        accented >= ENOUGH_BYTES and _is_rows_of_accents(text)
    )


def _is_utf_8_in(line: str, page: str) -> bool:
    try:
        return len(line.encode(page).decode()) < len(line) - 1
    except UnicodeError:
        return False


def _is_rows_of_accents(text: str) -> bool:
    accented = sum(map(_is_accented, text))
    runs = sum(_is_accented(a) and _is_accented(b) for a, b in pairwise(text))
    return runs > accented / 2


def _sample(data: bytes) -> bytes:
    """Bytes around the first odd one, from the beginning of a line."""
    odd = _ODD.search(data)
    if odd is None or odd.start() < SAMPLE_BYTES // 2:
        return data[:SAMPLE_BYTES]
    start = data.rfind(b"\n", max(0, odd.start() - SAMPLE_BYTES // 2), odd.start()) + 1
    return data[start : start + SAMPLE_BYTES]


def _names(sample: bytes) -> list[str]:
    # Imported here because it takes a while, and most texts are UTF-8.
    from charset_normalizer import from_bytes

    names = []
    for match in from_bytes(sample, enable_fallback=False):
        for name in (match.encoding, *match.could_be_from_charset):
            try:
                names.append(known_encoding(name))
            except UnknownEncoding:
                continue
    # Western letters read the same in many pages: the common one comes first.
    if any(name in SINGLE_BYTE for name in names) or not names:
        western = _read(sample, "cp1252")
        if western is not None and (not names or _is_western(western)):
            names.insert(0, "cp1252")
    return [name for name in names if not name.startswith("utf-")]


def _is_western(text: str) -> bool:
    """Whether the odd characters are Latin letters within words, and typographic marks."""
    odd = [character for character in text if character > "\x7f"]
    plain = sum(character in "–—‘’“”„‚…•€«»§°·½ " or _is_latin(character) for character in odd)
    # Three accented capitals in a row are Cyrillic or Greek that is read in the wrong page.
    runs = sum(_is_accented(a) and _is_accented(b) for a, b in pairwise(text))
    return plain >= 0.95 * len(odd) and runs <= 0.1 * len(odd)


def _is_accented(character: str) -> bool:
    return "\xc0" <= character <= "\xff"


def _is_latin(character: str) -> bool:
    return _is_accented(character) or character in "ŠšŒœŸŽžƒ¡¿ªº"


def _read(sample: bytes, name: str) -> str | None:
    """The sample in an encoding; None if it is not in it, or has controls where letters belong."""
    for cut in range(4):
        try:
            text = sample[: len(sample) - cut].decode(name)
        except UnicodeDecodeError:
            continue
        return None if _C1.search(text) else text
    return None


def _line(sample: bytes, name: str) -> str:
    """The line with the first odd byte, as it reads in an encoding."""
    odd = _ODD.search(sample)
    place = odd.start() if odd else 0
    start = max(sample.rfind(b"\n", 0, place) + 1, 0)
    end = sample.find(b"\n", place)
    line = sample[start : end if end >= 0 else len(sample)]
    text = line.decode(name, errors="replace").strip()
    before = len(line[: place - start].decode(name, errors="replace"))
    first = max(0, before - LINE_CHARACTERS // 2)
    shown = text[first : first + LINE_CHARACTERS]
    return ("…" if first else "") + shown + ("…" if first + LINE_CHARACTERS < len(text) else "")
