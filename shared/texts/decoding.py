"""Bytes of an upload, decoded: by a BOM, as declared, or as UTF-8."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.texts import archives
from shared.texts.characters import NormalForm
from shared.texts.corpus_text import CorpusBuilder, CorpusText
from shared.texts.encodings import SINGLE_BYTE, WIDE, WINDOWS_PAGES, known_encoding
from shared.texts.findings import Finding, NotThisEncoding, RefusedText
from shared.texts.guesses import guesses, is_misread_as_western, wide_guess
from shared.texts.signatures import refuse_other_files

OnInvalid = Literal["refuse", "replace", "drop"]
_ERRORS: dict[OnInvalid, str] = {"refuse": "strict", "replace": "replace", "drop": "ignore"}
DEFAULT_ENCODING = "utf-8"
#: The most bytes that an archive may unpack to where the caller names no limit.
LIMIT_BYTES = 1 << 30
PIECE_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 16
#: The longest first: UTF-32's begins with UTF-16's.
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_C1_BYTES = re.compile("[\x80-\x9f]")
#: A double-byte text may be valid UTF-8 by chance, but not with so many characters.
_CHANCE_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class Options:
    """How bytes are to be read.

    Attributes:
        encoding: The declared encoding; None means by a BOM, else UTF-8.
        on_invalid: What to do with bytes that are not in the encoding.
        normalize: The normal form to bring the text to.
        limit: The most bytes that archives may unpack to.
    """

    encoding: str | None = None
    on_invalid: OnInvalid = "refuse"
    normalize: NormalForm | None = None
    limit: int = LIMIT_BYTES


def decode(data: bytes, encoding: str | None = None, **options: object) -> CorpusText:
    """Decode one file; see `decode_files`."""
    return decode_files([("", data)], Options(encoding, **options))  # type: ignore[arg-type]


def decode_files(files: Sequence[tuple[str, bytes]], options: Options) -> CorpusText:
    """Decode files and archives of them, and put them together in the given order.

    Args:
        files: Names and contents. Names are told in errors and remembered as the text's parts.
        options: How to read them.

    Raises:
        RefusedText: A file is not a text, or not in its encoding; the message says what to do.
    """
    declared = None if options.encoding is None else known_encoding(options.encoding)
    builder, findings = CorpusBuilder(options.normalize), list[Finding]()
    opened = _opened(files, options.limit, findings)
    encodings = []
    for number, (name, data) in enumerate(opened, 1):
        try:
            used = _decode_file(data, declared, options.on_invalid, builder, findings)
        except RefusedText as error:
            if len(opened) > 1 and name:
                error.args = (f"{name}: {error}",)
            raise
        encodings.append(used)
        builder.end_part(name, last=number == len(opened))
    for used in dict.fromkeys(encodings):
        if used != DEFAULT_ENCODING:
            how = "as declared" if declared else "by its byte order mark"
            findings.insert(0, Finding("encoding", f"the text was read as {used}, {how}"))
    return builder.build(encodings[0], findings)


def normalise(text: str, normalize: NormalForm | None = None) -> CorpusText:
    """A text that needs no decoding, as it is stored.

    Raises:
        RefusedText: The text is empty, or holds what can't be stored.
    """
    starts = range(0, len(text), PIECE_BYTES)
    return normalise_pieces((text[start : start + PIECE_BYTES] for start in starts), normalize)


def normalise_pieces(pieces: Iterable[str], normalize: NormalForm | None = None) -> CorpusText:
    """A text that comes decoded, in pieces; see `normalise`."""
    builder = CorpusBuilder(normalize)
    for piece in pieces:
        builder.add(piece)
    builder.end_part("", last=True)
    return builder.build(DEFAULT_ENCODING, [])


def _opened(
    files: Sequence[tuple[str, bytes]], limit: int, findings: list[Finding]
) -> list[tuple[str, bytes]]:
    opened = []
    for name, data in files:
        if not archives.is_archive(data):
            opened.append((name, data))
            continue
        members = archives.open_archive(data, limit)
        opened += [("/".join(filter(None, (name, inner))), text) for inner, text in members]
        count = "1 text" if len(members) == 1 else f"{len(members):,} texts"
        findings.append(Finding("archive", f"the archive was opened: {count}"))
    return opened


def _decode_file(
    data: bytes,
    declared: str | None,
    on_invalid: OnInvalid,
    builder: CorpusBuilder,
    findings: list[Finding],
) -> str:
    """Decode one file into the builder; return the encoding it was in."""
    refuse_other_files(data)
    encoding = declared or next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if declared is not None:
        encoding = _checked_declaration(data, declared)
    elif encoding is None:
        encoding = DEFAULT_ENCODING
        if (wide := wide_guess(data)) is not None:
            raise NotThisEncoding(
                "not_utf_8",
                f"the bytes look like {wide} without a byte order mark",
                f"declare encoding={wide}",
            )
    invalid = 0
    if encoding == DEFAULT_ENCODING and on_invalid != "refuse":
        invalid = _Utf8Check(data).invalid
    # The decoder of plain «utf-16» and «utf-32» takes a BOM away; the others' goes in `plain`.
    for piece in _pieces(data, encoding, on_invalid):
        if declared is not None and encoding not in WIDE and encoding != DEFAULT_ENCODING:
            _refuse_controls(data, encoding, piece)
        builder.add(piece)
    if invalid:
        what = "replaced by U+FFFD" if on_invalid == "replace" else "left out"
        count = f"{invalid:,} byte{'' if invalid == 1 else 's'}"
        findings.append(
            Finding("invalid_bytes", f"invalid in {encoding} and therefore {what}: {count}")
        )
    return encoding


def _pieces(data: bytes, encoding: str, on_invalid: OnInvalid) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS[on_invalid])
    for start in range(0, len(data), PIECE_BYTES):
        waiting = len(decoder.getstate()[0])
        end = start + PIECE_BYTES
        try:
            yield decoder.decode(data[start:end], final=end >= len(data))
        except UnicodeDecodeError as error:
            raise _not_in(data, encoding, start - waiting + error.start) from None
        except UnicodeError:
            # A truncated last unit of utf-16 gives no position.
            raise _not_in(data, encoding, max(0, len(data) - 1)) from None


def _not_in(data: bytes, encoding: str, offset: int) -> NotThisEncoding:
    """The error for the first byte that is not in an encoding, with ways out."""
    line = data.count(b"\n", 0, offset) + 1
    first = f"0x{data[offset]:02x} at offset {offset}, line {line}"
    if encoding != DEFAULT_ENCODING:
        if _Utf8Check(data).invalid == 0:
            ways = ["leave encoding out: the bytes are UTF-8"]
        else:
            ways = [guess.sentence() for guess in guesses(data, encoding)]
        return NotThisEncoding(
            "not_in_encoding",
            f"byte {first}, is not {encoding}",
            *(ways or ["declare the text's own encoding with encoding="]),
        )
    check = _Utf8Check(data)
    count = "1 byte is" if check.invalid == 1 else f"{check.invalid:,} bytes are"
    message = f"{count} not utf-8 (the first: byte {first})"
    cleaned = (
        "pass on_invalid=replace to put U+FFFD in the place of each, or on_invalid=drop to leave "
        "them out: the rest is UTF-8"
    )
    if check.characters >= check.invalid:
        return NotThisEncoding("partly_utf_8", message, cleaned)
    ways = [guess.sentence() for guess in guesses(data)]
    return NotThisEncoding("not_utf_8", message, *(ways or [cleaned]))


def _checked_declaration(data: bytes, encoding: str) -> str:
    """The declared encoding; the order of bytes comes from a BOM where it is left open.

    Raises:
        NotThisEncoding: The bytes are plainly in another one.
    """
    marked = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if encoding in WIDE:
        guess = marked or wide_guess(data)
        if guess is None and len(data) >= 32 and b"\0" not in data[:SAMPLE_BYTES]:
            guess = DEFAULT_ENCODING if _Utf8Check(data[:SAMPLE_BYTES]).invalid == 0 else None
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
    check = _Utf8Check(data)
    enough = 1 if encoding in SINGLE_BYTE else _CHANCE_CHARACTERS
    if check.invalid == 0 and check.characters >= enough:
        raise _better(encoding, DEFAULT_ENCODING, f"and would read as mojibake in {encoding}")
    if is_misread_as_western(data, encoding) and (likely := guesses(data, encoding)):
        raise NotThisEncoding(
            "other_encoding",
            f"in {encoding} the text reads as rows of accented letters",
            *(guess.sentence() for guess in likely),
        )
    return encoding


def _better(declared: str, guess: str, reason: str) -> NotThisEncoding:
    return NotThisEncoding(
        "other_encoding",
        f"the text is {guess} {reason}, not {declared}",
        f"leave encoding out, or declare encoding={guess}",
    )


def _refuse_controls(data: bytes, encoding: str, piece: str) -> None:
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


class _Utf8Check:
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
