"""Uploaded bytes, made into text: encodings, BOMs, invalid bytes, and what is told of them."""

import random
import subprocess
import sys
import unicodedata
from contextlib import suppress

import pytest

from shared.texts.decoding import Options, decode, decode_files, normalise
from shared.texts.encodings import ENCODINGS
from shared.texts.findings import (
    EmptyText,
    ForbiddenCharacter,
    NotThisEncoding,
    RefusedText,
    UnknownEncoding,
)

QUOTED = "“The lantern – don’t touch it…” said Zoë to the keeper of the house.\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастлива по-своему.\n"
CHINESE = "滿紙荒唐言,一把辛酸淚。都云作者癡,誰解其中味。\n"
POLISH = "Zażółć gęślą jaźń, mówił książę.\n"
GREEK = "Η γλώσσα μου έδωσαν ελληνική το σπίτι φτωχικό.\n"
HEBREW = "בראשית ברא אלהים את השמים ואת הארץ\n"
ARABIC = "كان يا ما كان في قديم الزمان\n"
THAI = "กาลครั้งหนึ่งนานมาแล้ว\n"
KOREAN = "나는 소년이었다. 그리고 그 여름은 길었다.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"

MEASURE_DECODING = """
import sys, tracemalloc
from shared.texts import decoding
decoding.PIECE_BYTES = 1 << 14
data = sys.stdin.buffer.read()
decoding.decode(data[:1200].decode(errors="ignore").encode())  # loads tables that stay
tracemalloc.start()
text = decoding.decode(data)
assert len(text.data) == len(data)
print(tracemalloc.get_traced_memory()[1])
"""


def codes(text: object) -> list[str]:
    return [finding.code for finding in text.findings]  # type: ignore[attr-defined]


def test_a_bom_goes_and_lines_end_with_lf() -> None:
    text = decode(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert text.text == "one\ntwo\nthree\n"
    assert text.alphabet == "".join(sorted(set("one\ntwo\nthree\n")))
    assert "line_ends" in codes(text)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_every_line_end_becomes_lf(end: str) -> None:
    assert decode(f"one{end}two{end}".encode()).text == "one\ntwo\n"


def test_boms_within_the_text_go_too() -> None:
    text = decode("\ufeffone\n\ufefftwo\nth\ufeffree\n".encode())
    assert text.text == "one\ntwo\nthree\n"
    assert "\ufeff" not in text.alphabet + text.alphabet_lowercase
    assert "inner_bom" in codes(text)


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("latin-1", "café"), ("gb18030", "红楼梦"), ("utf-16", "红楼梦"), ("cp1251", "мир, война")],
)
def test_a_declared_encoding_is_read(encoding: str, written: str) -> None:
    assert decode(written.encode(encoding), encoding).text == written


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("written", [QUOTED * 20, CHINESE * 20, "😀 and 🎈\n" * 20])
def test_utf_16_and_32_are_read_by_their_bom(encoding: str, written: str) -> None:
    text = decode(f"\ufeff{written}".encode(encoding))
    assert (text.text, text.encoding) == (written, encoding)
    other = encoding[:-2] + ("be" if encoding.endswith("le") else "le")
    with pytest.raises(NotThisEncoding, match=f"declare encoding={encoding}"):
        decode(f"\ufeff{written}".encode(encoding), other)
    assert decode(f"\ufeff{written}".encode(encoding), encoding[:6]).text == written


def test_bytes_that_are_not_utf_8_are_counted_and_named_with_their_line() -> None:
    with pytest.raises(NotThisEncoding, match="2 bytes are not utf-8") as error:
        decode("plain\ncafé\nolé\n".encode("latin-1"))
    assert "0xe9 at offset 9, line 2" in str(error.value)


def test_where_the_rest_is_utf_8_invalid_bytes_can_be_replaced_or_dropped() -> None:
    data = ("naïve café\n" * 5).encode() + b"a\xe9b\n" + b"c\xff\xfed\n"
    with pytest.raises(NotThisEncoding, match="3 bytes") as error:
        decode(data)
    assert "on_invalid=replace" in str(error.value)
    assert "line 6" in str(error.value)
    assert decode(data, on_invalid="drop").text == "naïve café\n" * 5 + "ab\ncd\n"
    replaced = decode(data, on_invalid="replace")
    assert replaced.text.endswith("a\ufffdb\nc\ufffd\ufffdd\n")
    assert "3 bytes" in next(f.message for f in replaced.findings if f.code == "invalid_bytes")


def test_a_character_may_lie_across_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.texts.decoding.PIECE_BYTES", 7)
    written = "Ça coûte\r\ncher, e\u0301te\u0301 — 😀 ΛΟΓΟΣ ΣΟΦΟΣ\r\n" * 9
    text = decode(written.encode())
    assert text.text == written.replace("\r\n", "\n")
    assert text.alphabet == "".join(sorted(set(text.text)))
    assert text.alphabet_lowercase == "".join(sorted(set(text.text.lower())))
    normalized = decode(written.encode(), normalize="NFC").text
    assert normalized == unicodedata.normalize("NFC", text.text)
    with pytest.raises(NotThisEncoding, match=f"offset {len(written.encode())}"):
        decode(written.encode() + b"\xff")


@pytest.mark.parametrize(
    "encoding", ["klingon", "base64", "hex", "\0", "punycode", "idna", "utf-7", "unicode_escape"]
)
def test_an_encoding_that_is_not_allowed_is_refused_with_a_list(encoding: str) -> None:
    with pytest.raises(UnknownEncoding, match=r"utf-8, .*cp1252, .*koi8-r"):
        decode(b"abc", encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_allowed_encoding_reads_what_it_writes(encoding: str) -> None:
    assert decode("plain text\n".encode(encoding), encoding).text == "plain text\n"


def test_half_a_character_at_the_end_is_refused() -> None:
    with pytest.raises(NotThisEncoding):
        decode(b"a\0b", "utf-16-le")


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\xff\xfe", "\ufeff\ufeff".encode()])
def test_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(EmptyText):
        decode(data)


@pytest.mark.parametrize("character", ["\0", "\ufffe", "\uffff", "\ufdd0", "\U0001ffff"])
def test_what_can_not_be_stored_is_refused_with_its_position(character: str) -> None:
    with pytest.raises(ForbiddenCharacter, match="position 2"):
        decode(f"ab{character}c".encode())
    with pytest.raises(ForbiddenCharacter):
        normalise("ab\ud800c")


def test_the_lower_case_alphabet_is_the_lower_cased_text_s() -> None:
    text = decode("ΛΟΓΟΣ İ".encode())
    assert text.alphabet_lowercase == "".join(sorted(set("ΛΟΓΟΣ İ".lower())))


def test_mixed_forms_are_told_and_normalised_on_request() -> None:
    mixed = "caf\u00e9 cafe\u0301\n" * 3
    text = decode(mixed.encode())
    assert (text.text, text.normal_form) == (mixed, None)
    assert "mixed_forms" in codes(text)
    text = decode(mixed.encode(), normalize="NFC")
    assert (text.text, text.normal_form) == ("café café\n" * 3, "NFC")
    assert "mixed_forms" not in codes(text)
    assert decode("cafe\u0301\n".encode()).normal_form == "NFD"
    assert decode(b"cafe\n").normal_form is None


def test_several_files_make_one_text_whose_parts_are_remembered() -> None:
    files = [("a.txt", b"one"), ("b.txt", "\ufefftwö".encode("utf-16-le")), ("c.txt", b"three\n")]
    text = decode_files(files, Options())
    assert text.text == "one\ntwö\nthree\n"
    assert [(part.name, part.characters) for part in text.parts] == [
        ("a.txt", 4),
        ("b.txt", 4),
        ("c.txt", 6),
    ]
    with pytest.raises(RefusedText, match=r"^b\.txt: this is a PDF"):
        decode_files([("a.txt", b"one"), ("b.txt", b"%PDF-1.4\n")], Options())


@pytest.mark.parametrize("written", [QUOTED, CHINESE, "plain ascii with one 😀 in it\n"])
def test_decoding_takes_less_than_four_times_the_bytes(written: str) -> None:
    data = (written * (600_000 // len(written.encode()))).encode()
    # In a process of its own: what threads of other tests allocate counts as well.
    child = subprocess.run(
        [sys.executable, "-P", "-c", MEASURE_DECODING], input=data, capture_output=True, check=True
    )
    # Beside `data` itself.
    assert int(child.stdout) < 3 * len(data)


def test_random_bytes_are_never_an_unexpected_error() -> None:
    dice = random.Random(1)
    for size in (1, 2, 3, 7, 100, 3000):
        for declared in (None, "latin-1", "gb18030", "utf-16", "cp932"):
            with suppress(RefusedText):
                decode(dice.randbytes(size), declared)
