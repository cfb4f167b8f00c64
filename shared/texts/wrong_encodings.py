"""Bytes that are not in the encoding they are read in: what is wrong, and what is likelier."""

import codecs
import re

from shared.texts.encodings import DEFAULT_ENCODING, SINGLE_BYTE, WIDE, WINDOWS_PAGES
from shared.texts.findings import NotThisEncoding
from shared.texts.guesses import better_guesses, guesses, is_misread_as_western, wide_guess
from shared.texts.signatures import SAMPLE_BYTES

PIECE_BYTES = 1 << 20
#: The longest first: UTF-32's begins with UTF-16's.
BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_C1_BYTES = re.compile("[\x80-\x9f]")
_C1_RAW = re.compile(rb"[\x80-\x9f]")
#: What latin-1 reads as a sign within a word, or as ¤ behind a number, and iso8859-15 as œ or €.
_LATIN_9 = re.compile(
    rb"[A-Za-z\xe0-\xff][\xa6\xa8\xb4\xb8\xbc-\xbe][a-z\xe0-\xff]|[0-9][ \xa0]?\xa4(?![0-9])"
)
#: Lines that are looked at to tell whether they are all in one encoding.
MIXED_LINES = 2000
#: A double-byte text may be valid UTF-8 by chance, but not with so many characters.
_CHANCE_CHARACTERS = 4
#: Fewer stray bytes are no second encoding.
MIXED_BYTES = 20


def not_in(data: bytes, encoding: str, offset: int) -> NotThisEncoding:
    """The error for the first byte that is not in an encoding, with ways out."""
    line = data.count(b"\n", 0, offset) + 1
    first = f"0x{data[offset]:02x} at offset {offset}, line {line}"
    if encoding != DEFAULT_ENCODING:
        if Utf8Check(data).invalid == 0:
            ways = ["leave encoding out: the bytes are UTF-8"]
        else:
            ways = [guess.sentence() for guess in guesses(data, encoding)]
        return NotThisEncoding(
            "not_in_encoding",
            f"byte {first}, is not {encoding}",
            *(ways or ["declare the text's own encoding with encoding="]),
        )
    check = Utf8Check(data)
    count = "1 byte is" if check.invalid == 1 else f"{check.invalid:,} bytes are"
    message = f"{count} not utf-8 (the first: byte {first})"
    cleaned = (
        "pass on_invalid=replace to put U+FFFD in the place of each, or on_invalid=drop to leave "
        "them out: the rest is UTF-8"
    )
    if check.invalid >= MIXED_BYTES and _mixes_encodings(data):
        return NotThisEncoding(
            "partly_utf_8",
            f"{message}, and other lines are",
            "convert the lines that are in another encoding to UTF-8",
            cleaned.removesuffix(": the rest is UTF-8"),
        )
    if check.characters >= check.invalid:
        return NotThisEncoding("partly_utf_8", message, cleaned)
    ways = [guess.sentence() for guess in guesses(data)]
    return NotThisEncoding("not_utf_8", message, *(ways or [cleaned]))


def _mixes_encodings(data: bytes) -> bool:
    """Whether some lines beyond ASCII are UTF-8 and others are not, as after joining files."""
    lines = [line for line in data.split(b"\n", MIXED_LINES)[:MIXED_LINES] if not line.isascii()]
    valid = sum(Utf8Check(line).invalid == 0 for line in lines)
    return valid >= 2 and len(lines) > valid >= 0.1 * len(lines)


def checked_declaration(data: bytes, encoding: str) -> str:
    """The declared encoding; the order of bytes comes from a BOM where it is left open.

    Raises:
        NotThisEncoding: The bytes are plainly in another one.
    """
    marked = next((name for bom, name in BOMS if data.startswith(bom)), None)
    if encoding in WIDE:
        guess = marked or wide_guess(data)
        if guess is None and len(data) >= 32 and b"\0" not in data[:SAMPLE_BYTES]:
            guess = DEFAULT_ENCODING if Utf8Check(data[:SAMPLE_BYTES]).invalid == 0 else None
        if guess is not None and not guess.startswith(encoding):
            reason = "by its byte order mark" if marked else "by its bytes"
            raise _better(encoding, guess, reason)
        return guess or encoding
    if encoding == DEFAULT_ENCODING:
        if marked not in (None, DEFAULT_ENCODING) and marked is not None:
            raise _better(encoding, marked, "by its byte order mark")
        return encoding
    if marked == DEFAULT_ENCODING:
        raise _better(encoding, DEFAULT_ENCODING, "by its byte order mark")
    check = Utf8Check(data)
    enough = 1 if encoding in SINGLE_BYTE else _CHANCE_CHARACTERS
    if check.invalid == 0 and check.characters >= enough:
        raise _better(encoding, DEFAULT_ENCODING, f"and would read as mojibake in {encoding}")
    if is_misread_as_western(data, encoding) and (likely := guesses(data, encoding)):
        raise NotThisEncoding(
            "other_encoding",
            f"in {encoding} the text reads as rows of accented letters",
            *(guess.sentence() for guess in likely),
        )
    if better := better_guesses(data, encoding):
        raise NotThisEncoding(
            "other_encoding",
            f"in {encoding} the text reads as no language does",
            *(guess.sentence() for guess in better),
        )
    if encoding in ("latin-1", "cp1252") and _LATIN_9.search(data) and not _C1_RAW.search(data):
        raise NotThisEncoding(
            "other_encoding",
            f"in {encoding} the text has signs where €, œ and the like belong",
            "declare encoding=iso8859-15",
        )
    return encoding


def _better(declared: str, guess: str, reason: str) -> NotThisEncoding:
    return NotThisEncoding(
        "other_encoding",
        f"the text is {guess} {reason}, not {declared}",
        f"leave encoding out, or declare encoding={guess}",
    )


def refuse_controls(data: bytes, encoding: str, piece: str) -> None:
    """Refuse a declared encoding in which a piece of the text has C1 controls.

    Raises:
        NotThisEncoding: It has; the message offers likelier ones.
    """
    found = _C1_BYTES.search(piece)
    if found is None:
        return
    page = WINDOWS_PAGES.get(encoding)
    likely = guesses(data, encoding)
    ways = [guess.sentence() for guess in likely if guess.encoding == page]
    ways = ways or [guess.sentence() for guess in likely]
    raise NotThisEncoding(
        "controls",
        f"in {encoding} the text has invisible control characters (U+{ord(found[0]):04X} and the "
        "like) where letters or quotes belong",
        *(ways or ["declare the text's own encoding"]),
    )


class Utf8Check:
    """How much of some bytes is UTF-8.

    Attributes:
        invalid: The bytes that are not.
        characters: The characters beyond ASCII in the rest.
    """

    def __init__(self, data: bytes) -> None:
        self.invalid = self.characters = 0
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for start in range(0, len(data), PIECE_BYTES):
            end = start + PIECE_BYTES
            text = decoder.decode(data[start:end], final=end >= len(data))
            if not text.isascii():
                invalid = len(_ESCAPED.findall(text))
                self.invalid += invalid
                self.characters += len(_BEYOND_ASCII.findall(text)) - invalid


_ESCAPED = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
