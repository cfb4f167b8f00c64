"""Files that are not plain texts: opened, refused by name, or taken with a word."""

import gzip
import io
import tarfile
from typing import get_args

import pytest

from shared.texts import archives
from shared.texts.decoding import Options, decode, decode_files
from shared.texts.findings import NotAText, RefusalCode, RefusedText, TextTooLarge
from tests.texts_refused import REFUSED, zipped

PROSE = "It was a bright cold day in April, and the clocks were striking thirteen.\n" * 40


def tarred() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    return packed.getvalue()


def codes(data: bytes) -> list[str]:
    return [finding.code for finding in decode(data).findings]


def test_gzip_and_zip_are_opened() -> None:
    text = decode(gzip.compress(PROSE.encode()))
    assert (text.text, "archive" in codes(gzip.compress(PROSE.encode()))) == (PROSE, True)
    assert decode(gzip.compress(b"one\n") + gzip.compress(b"two\n")).text == "one\ntwo\n"
    packed = zipped(**{"b.txt": b"two\n", "a.txt": "\ufeffone".encode("utf-16-le")})
    text = decode_files([("books.zip", packed)], Options())
    assert text.text == "one\ntwo\n"
    assert [part.name for part in text.parts] == ["books.zip/a.txt", "books.zip/b.txt"]
    hidden = zipped(**{"a.txt": b"one", "__MACOSX/._a.txt": b"\0\0", ".DS_Store": b"\0"})
    assert decode(hidden).text == "one"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.4\n1 0 obj\n", "PDF"),
        (b"{\\rtf1\\ansi Hello}", "RTF"),
        (zipped(**{"word/document.xml": b"<w/>"}), "docx"),
        (zipped(**{"xl/workbook.xml": b"<w/>"}), "xlsx"),
        (zipped(**{"META-INF/container.xml": b"<w/>", "a.xhtml": b""}), "EPUB"),
        (zipped(**{"content.xml": b"<w/>"}), "odt"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "before 2007"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "JPEG"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z"),
        (b"BZh91AY&SY\x00\x01", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (tarred(), "tar"),
        (zipped(**{"a.pdf": b"%PDF-1.4"}), "PDF"),
        (gzip.compress(tarred()), "tar"),
        (gzip.compress(zipped(**{"a.txt": PROSE.encode()})), "zip archive within"),
        (zipped(**{"a.txt.gz": gzip.compress(PROSE.encode())}), "gzip archive within"),
        (gzip.compress(gzip.compress(PROSE.encode())), "gzip archive within"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(9), "RAR"),
        (b"ID3\x04\0\0\0\0" + bytes(20), "MP3"),
        (b"\xff\xfb\x90\x44" + bytes(200), "MP3"),
        (b"fLaC\0\0\0\x22" + bytes(9), "FLAC"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"BM6\0\0\0\0\0\0\0" + bytes(60), "BMP"),
        (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff", "program"),
        (b"\n\n%PDF-1.4\n%\xe2\xe3", "PDF"),
        (b"\xef\xbb\xbf%PDF-1.4\n", "PDF"),
        (bytes(range(256)) * 10, "binary"),
        (bytes(40_000) + b"CD001", "binary"),
        (b"#!/bin/sh\n" + zipped(**{"a.txt": PROSE.encode()}), "binary"),
    ],
)
def test_other_kinds_are_refused_by_name(data: bytes, name: str) -> None:
    for declared in (None, "latin-1"):
        with pytest.raises(NotAText, match=name) as error:
            decode(data, declared)
        assert error.value.finding.ways


@pytest.mark.parametrize(
    "words", ["GIF89a is a format.\n", "ID3 tags\n", "BZh9 it is\n", "PK it\n"]
)
def test_a_text_may_begin_with_the_letters_of_a_signature(words: str) -> None:
    assert decode(words.encode()).text == words


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TextTooLarge, match="1,000 bytes"):
        decode(gzip.compress(PROSE.encode()), limit=1000)
    with pytest.raises(TextTooLarge, match="1,000 bytes"):
        decode(zipped(**{"a.txt": PROSE.encode()}), limit=1000)
    monkeypatch.setattr(archives, "FREE_BYTES", 1000)
    for bomb in (gzip.compress(bytes(5_000_000)), zipped(**{"a.txt": bytes(5_000_000)})):
        with pytest.raises(TextTooLarge, match="200 times"):
            decode(bomb)
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    with pytest.raises(TextTooLarge, match="3 files"):
        decode(zipped(a=b"1", b=b"2", c=b"3"))


def test_a_damaged_archive_is_refused() -> None:
    for whole in (gzip.compress(PROSE.encode()), zipped(**{"a.txt": PROSE.encode()})):
        for damaged in (
            whole[: len(whole) // 2],
            whole[:12],
            whole[:30] + b"\xff" * 9 + whole[39:],
        ):
            with pytest.raises(RefusedText):
                decode(damaged)
    with pytest.raises(NotAText, match="no files"):
        decode(zipped())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<table><tr><td>1</td></tr></table>\n", "html"),
        ("See <a href='x'>this</a> and <i>that</i>.\n", "html"),
        ("Tom &amp; Jerry &#8211; and&nbsp;others\n", "html"),
        ("<TEI xmlns='x'><text>It was</text></TEI>\n", "xml"),
        ('{"text": "a"}\n{"text": "b"}\n', "json"),
        ('[\n  {"text": "a"}\n]\n', "json"),
        ("\\documentclass{article}\n\\begin{document}x\\end{document}\n", "latex"),
        ("1\n00:00:01,000 --> 00:00:02,000\nHello\n", "subtitles"),
        ('id,text\n1,"hello, ""you"""\n2,"a\nb"\n3,c\n', "csv"),
        ('"1000148","2026-01-11","The small fox, it ran"\n' * 8, "csv"),
        ("a|b|c\n1|x|y\n2|y|z\n3|z|z\n", "csv"),
        ("id;text\n" + "".join(f'{i};"{"word " * 900}; yes"\n' for i in range(9)), "csv"),
        ("<!DOCTYPE html><html><body><p>Hello</p></body></html>\n", "html"),
        ("<?xml version='1.0'?>\n<TEI>text</TEI>\n", "xml"),
        ('id,text\n1,"hello, you"\n2,"it, is"\n3,fine\n4,done\n', "csv"),
        ("".join(f"Name{i}\n" for i in range(50)), "list"),
        (f"{PROSE}End of the Project Gutenberg EBook of this\n", "licence"),
        ("a text", "few_characters"),
        ("it â€™s rÃ©sumÃ© and cafÃ©\n", "mojibake"),
        ("don\x92t and won\x92t", "controls"),
        ("one\r\ntwo", "line_ends"),
    ],
)
def test_what_a_text_looks_like_is_told(text: str, code: str) -> None:
    assert code in codes(text.encode())


def test_prose_has_no_findings() -> None:
    assert codes((PROSE * 20).encode()) == []
    for prose in ("if (a < b) { return a<p; }\n", "# A title\n\n**bold** and [a](b) & more\n"):
        assert codes(prose.encode() * 1000) in ([], ["list"])
    verses = "Well, he said, yes.\nNo, she said, no.\nAh, well, ok.\nThe, end, yes.\n"
    assert codes(verses.encode() * 400) == ["list"]
    session = "\x1b[32mok\x1b[0m the harbour is quiet today\x1b]0;title\x07 done\n"
    assert codes(session.encode() * 1000) == []
    quoted = "“Well, well,” she said; “déjà vu – isn’t it?”\n\n" * 900
    assert codes(quoted.encode()) == []


@pytest.mark.parametrize("code", REFUSED)
def test_every_refusal_has_a_code_and_ways_out(code: str) -> None:
    data, encoding = REFUSED[code]
    with pytest.raises(RefusedText) as error:
        decode(data, encoding)
    finding = error.value.finding
    assert finding.code == code
    assert finding.ways
    assert str(error.value).startswith(finding.message)
    assert all(way in str(error.value) for way in finding.ways)


def test_no_code_is_without_an_example() -> None:
    elsewhere = {"too_large", "unknown_character", "not_items"}
    assert {*REFUSED, *elsewhere} == set(get_args(RefusalCode))
    with pytest.raises(TextTooLarge) as error:
        decode(gzip.compress(PROSE.encode()), limit=1000)
    assert (error.value.finding.code, bool(error.value.finding.ways)) == ("too_large", True)
