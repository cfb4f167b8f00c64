"""Bytes of an upload, decoded: by a BOM, as declared, or as UTF-8."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.texts import archives
from shared.texts.characters import NormalForm
from shared.texts.corpus_text import CorpusBuilder, CorpusText
from shared.texts.encodings import DEFAULT_ENCODING, WIDE, known_encoding
from shared.texts.findings import Finding, NotThisEncoding, RefusedText
from shared.texts.guesses import wide_guess
from shared.texts.signatures import SAMPLE_BYTES, refuse_binary, refuse_other_files
from shared.texts.wrong_encodings import (
    BOMS,
    Utf8Check,
    checked_declaration,
    not_in,
    refuse_controls,
)

OnInvalid = Literal["refuse", "replace", "drop"]
_ERRORS: dict[OnInvalid, str] = {"refuse": "strict", "replace": "replace", "drop": "ignore"}
#: The most bytes that an archive may unpack to where the caller names no limit.
LIMIT_BYTES = 1 << 30
PIECE_BYTES = 1 << 20
#: Where Japanese characters begin, and where ASCII does again.
_ISO_2022_JP = re.compile(rb"\x1b\$[@B][!-~]+\x1b\([BJ]")


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
    if not _is_wide(data, declared):
        refuse_binary(data)
    encoding = declared or next((name for bom, name in BOMS if data.startswith(bom)), None)
    if declared is not None:
        encoding = checked_declaration(data, declared)
    elif encoding is None:
        encoding = DEFAULT_ENCODING
        if _ISO_2022_JP.search(data[:SAMPLE_BYTES]):
            raise NotThisEncoding(
                "other_encoding",
                "the text is iso2022-jp by its escape sequences",
                "declare encoding=iso2022-jp",
            )
        if (wide := wide_guess(data)) is not None:
            raise NotThisEncoding(
                "not_utf_8",
                f"the bytes look like {wide} without a byte order mark",
                f"declare encoding={wide}",
            )
    invalid = 0
    if encoding == DEFAULT_ENCODING and on_invalid != "refuse":
        invalid = Utf8Check(data).invalid
    # The decoder of plain «utf-16» and «utf-32» takes a BOM away; the others' goes in `plain`.
    for piece in _pieces(data, encoding, on_invalid):
        if declared is not None and encoding not in WIDE and encoding != DEFAULT_ENCODING:
            refuse_controls(data, encoding, piece)
        builder.add(piece)
    if invalid:
        what = "replaced by U+FFFD" if on_invalid == "replace" else "left out"
        count = f"{invalid:,} byte{'' if invalid == 1 else 's'}"
        findings.append(
            Finding("invalid_bytes", f"invalid in {encoding} and therefore {what}: {count}")
        )
    return encoding


def _is_wide(data: bytes, declared: str | None) -> bool:
    """Whether a text is in UTF-16 or UTF-32, which look binary, or may be."""
    wide_bom = any(data.startswith(bom) for bom, name in BOMS if name != DEFAULT_ENCODING)
    return declared in WIDE or wide_bom or wide_guess(data) is not None


def _pieces(data: bytes, encoding: str, on_invalid: OnInvalid) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS[on_invalid])
    for start in range(0, len(data), PIECE_BYTES):
        waiting = len(decoder.getstate()[0])
        end = start + PIECE_BYTES
        try:
            yield decoder.decode(data[start:end], final=end >= len(data))
        except UnicodeDecodeError as error:
            raise not_in(data, encoding, start - waiting + error.start) from None
        except UnicodeError:
            # A truncated last unit of utf-16 gives no position.
            raise not_in(data, encoding, max(0, len(data) - 1)) from None
