"""Files that are not plain text, recognised by their first bytes; and markup within text."""

import codecs
import csv
import re

from shared.texts.findings import Finding, NotAText

GZIP, ZIP, EMPTY_ZIP = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06"
AS_TEXT = "open it in its program, save it as plain text (UTF-8), and upload that file"
_UNPACK = "unpack it and upload the texts in it"
_CONVERT = "convert it to plain text, for example with Calibre"
_OCR = "a text in a picture needs OCR first"

#: The first bytes, what such a file is, and what to do. These files can be ASCII throughout.
_DOCUMENTS = (
    (b"%PDF-", "a PDF document", "extract its text first, for example with pdftotext"),
    (b"{\\rtf", "an RTF document", AS_TEXT),
    (b"%!PS", "a PostScript document", "extract its text first, for example with ps2ascii"),
)
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Word or Excel document from before 2007", AS_TEXT),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _OCR),
    (b"\xff\xd8\xff", "a JPEG image", _OCR),
    (b"GIF87a", "a GIF image", _OCR),
    (b"GIF89a", "a GIF image", _OCR),
    (b"II*\0", "a TIFF image", _OCR),
    (b"MM\0*", "a TIFF image", _OCR),
    (b"AT&TFORM", "a DjVu document", "extract its text first, for example with djvutxt"),
    (b"BZh9", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"SQLite format 3\0", "an SQLite database", "export the column with the texts"),
    (b"PAR1", "a Parquet file", "export the column with the texts"),
    (b"ID3", "an MP3 recording", "transcribe it first"),
    (b"OggS", "an Ogg recording", "transcribe it first"),
    (b"\x7fELF", "a program", "upload a text instead"),
)  # fmt: skip
#: Where a signature is not at the beginning: its place, the bytes, what it is, what to do.
_INNER_SIGNATURES = (
    (257, b"ustar", "a tar archive", _UNPACK),
    (8, b"WEBP", "a WebP image", _OCR),
    (8, b"WAVE", "a WAV recording", "transcribe it first"),
    (4, b"ftyp", "a video or a recording", "transcribe it first"),
    (60, b"BOOKMOBI", "a Kindle book (mobi)", _CONVERT),
)
#: What a zip's members say about it.
_ZIP_DOCUMENTS = (
    ("word/", "a Word document (docx)", AS_TEXT),
    ("xl/", "an Excel workbook (xlsx)", "save the sheet as CSV or plain text, and upload that"),
    ("ppt/", "a PowerPoint presentation (pptx)", AS_TEXT),
    ("content.xml", "an OpenDocument file (odt)", AS_TEXT),
    ("META-INF/container.xml", "an EPUB book", _CONVERT),
    ("META-INF/MANIFEST.MF", "a Java archive", "upload a text instead"),
)  # fmt: skip

_HEAD_BYTES = 1024
_BINARY = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\udc80-\udcff]")
_HTML = re.compile(r"<!doctype html|<html[\s>]|<(p|div|br|span|body|head)[\s/>]", re.IGNORECASE)
_XML = re.compile(r"\s*<\?xml\s")
#: Between two of these lines of the beginning, a table has the same number of commas.
_TABLE_LINES = 20
_LICENCE = re.compile(
    r"end of (the |this )?project gutenberg|project gutenberg(-tm|™)? license|"
    r"creative commons|licensed under the", re.IGNORECASE
)  # fmt: skip


def refuse_other_files(data: bytes) -> None:
    """Refuse bytes that are a file of a known other kind.

    Raises:
        NotAText: It is one; the message names it and says what to do.
    """
    for start, name, way in _DOCUMENTS:
        if data.startswith(start):
            raise _not_a_text(name, way)
    if _reads_as_text(data[:_HEAD_BYTES]):
        return  # a text may begin with the letters of a signature
    for start, name, way in _SIGNATURES:
        if data.startswith(start):
            raise _not_a_text(name, way)
    for offset, signature, name, way in _INNER_SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            raise _not_a_text(name, way)


def refuse_zipped_documents(names: list[str]) -> None:
    """Refuse a zip whose members make it a document.

    Raises:
        NotAText: It is one; the message names it and says what to do.
    """
    for member, document, way in _ZIP_DOCUMENTS:
        if any(name.startswith(member) for name in names):
            raise _not_a_text(document, way)


def _reads_as_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters; the last character may be cut."""
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)
    return not _BINARY.search(text)


def _not_a_text(name: str, way: str) -> NotAText:
    return NotAText("not_a_text", f"this is {name}, not a plain text", way)


def markup(beginning: str, end: str) -> list[Finding]:
    """What a text's beginning and end say of it: HTML, XML, a table, a licence."""
    findings = []
    if _HTML.search(beginning):
        findings.append(
            Finding(
                "html",
                "the text has HTML markup, and a model will learn to write tags",
                ("save the page as plain text and upload that",),
            )
        )
    elif _XML.match(beginning):
        findings.append(
            Finding(
                "xml",
                "the text is XML, and a model will learn to write tags",
                ("extract the text between the tags and upload that",),
            )
        )
    elif _is_table(beginning):
        findings.append(
            Finding(
                "csv",
                "the text looks like a table (CSV), and a model will learn its separators too",
                ("name the column that holds the texts: --items column --column NAME",),
            )
        )
    if _LICENCE.search(end):
        findings.append(
            Finding(
                "licence",
                "the text seems to end with a licence, which a model learns as well",
                ("cut the licence off before you upload the text",),
            )
        )
    return findings


def _is_table(beginning: str) -> bool:
    lines = beginning.split("\n")
    for separator in ",;\t":
        if separator not in lines[0] or f"{separator} " in lines[0]:
            continue  # after the commas of prose is a space
        try:
            rows = [row for row in csv.reader(lines[:-1], delimiter=separator) if row]
        except csv.Error:
            continue
        # The beginning may end within a row.
        if len({len(row) for row in rows[:-1]}) == 1 and len(rows) >= 4 and len(rows[0]) >= 2:
            return True
    return False
