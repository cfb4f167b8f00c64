"""Uploaded bytes, made into text."""

import pytest

from shared.corpus_text import (
    EmptyText,
    UndecodableText,
    UnknownEncoding,
    UnstorableText,
    decode,
)


def test_a_bom_goes_and_lines_end_with_lf() -> None:
    text = decode(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert text.text == "one\ntwo\nthree\n"
    assert text.alphabet == "".join(sorted(set("one\ntwo\nthree\n")))


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("latin-1", "café"), ("gb18030", "红楼梦"), ("utf-16", "红楼梦"), ("cp1251", "мир")],
)
def test_a_declared_encoding_is_read(encoding: str, written: str) -> None:
    assert decode(written.encode(encoding), encoding).text == written


def test_bytes_that_are_not_utf_8_are_named_with_their_offset() -> None:
    with pytest.raises(UndecodableText, match="byte 0xe9 at offset 3 is not utf-8") as error:
        decode("café".encode("latin-1"))
    assert error.value.offset == 3


@pytest.mark.parametrize("encoding", ["klingon", "base64", "hex", "\0"])
def test_what_is_no_text_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(UnknownEncoding):
        decode(b"abc", encoding)


def test_half_a_character_at_the_end_is_refused() -> None:
    with pytest.raises(UndecodableText):
        decode(b"a\0b", "utf-16-le")


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(EmptyText):
        decode(data)


def test_a_zero_byte_is_refused_with_its_position() -> None:
    with pytest.raises(UnstorableText, match="position 2"):
        decode(b"ab\0c")


def test_the_lower_case_alphabet_is_the_lower_cased_text_s() -> None:
    text = decode("ΛΟΓΟΣ İ".encode())
    assert text.alphabet_lowercase == "".join(sorted(set("ΛΟΓΟΣ İ".lower())))
