"""Files that are not plain text, recognised by their first bytes."""

import codecs
import re

from shared.texts.findings import NotAText

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
    (b"BM", "a BMP image", _OCR),
    (b"\0\0\1\0", "an icon", _OCR),
    (b"8BPS", "a Photoshop image", _OCR),
    (GZIP, "a gzip archive within an archive", _UNPACK),
    (ZIP, "a zip archive within an archive", _UNPACK),
    (b"BZh9", "a bzip2 archive", _UNPACK),
    (b"]\0\0\x80\0", "an LZMA archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "an LZ4 archive", _UNPACK),
    (b"\x1f\x9d", "a compressed file (.Z)", _UNPACK),
    (b"MSCF", "a cabinet archive (cab)", _UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"SQLite format 3\0", "an SQLite database", "export the column with the texts"),
    (b"PAR1", "a Parquet file", "export the column with the texts"),
    (b"ID3", "an MP3 recording", "transcribe it first"),
    (b"OggS", "an Ogg recording", "transcribe it first"),
    (b"fLaC", "a FLAC recording", "transcribe it first"),
    (b"MThd", "a MIDI file", "transcribe it first"),
    (b"\xff\xfb", "an MP3 recording", "transcribe it first"),
    (b"\xff\xf3", "an MP3 recording", "transcribe it first"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video", "transcribe it first"),
    (b"\xffWPC", "a WordPerfect document", AS_TEXT),
    (b"ITSF", "a compiled help file (chm)", _CONVERT),
    (b"ITOLITLS", "an e-book (lit)", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", "upload a text instead"),
    (b"\x89HDF\r\n", "an HDF5 file", "export the texts in it"),
    (b"wOF", "a font", "upload a text instead"),
    (b"\x7fELF", "a program", "upload a text instead"),
    (b"MZ", "a program", "upload a text instead"),
    (b"\xca\xfe\xba\xbe", "a program", "upload a text instead"),
    (b"\xcf\xfa\xed\xfe", "a program", "upload a text instead"),
    (b"\0asm", "a program", "upload a text instead"),
)  # fmt: skip
#: Where a signature is not at the beginning: its place, the bytes, what it is, what to do.
_INNER_SIGNATURES = (
    (257, b"ustar", "a tar archive", _UNPACK),
    (8, b"WEBP", "a WebP image", _OCR),
    (8, b"WAVE", "a WAV recording", "transcribe it first"),
    (8, b"AVI ", "an AVI video", "transcribe it first"),
    (4, b"ftyphei", "a HEIC image", _OCR),
    (4, b"ftypmif", "a HEIC image", _OCR),
    (4, b"ftypavif", "an AVIF image", _OCR),
    (4, b"ftyp", "a video or a recording", "transcribe it first"),
    (60, b"BOOKMOBI", "a Kindle book (mobi)", _CONVERT),
)
#: What a zip's members say about it.
_ZIP_DOCUMENTS = (
    ("word/", "a Word document (docx)", AS_TEXT),
    ("xl/", "an Excel workbook (xlsx)", "save the sheet as CSV or plain text, and upload that"),
    ("ppt/", "a PowerPoint presentation (pptx)", AS_TEXT),
    ("content.xml", "an OpenDocument file (odt, ods or odp)", AS_TEXT),
    ("META-INF/container.xml", "an EPUB book", _CONVERT),
    ("META-INF/MANIFEST.MF", "a Java archive", "upload a text instead"),
)  # fmt: skip

_HEAD_BYTES = 1024
SAMPLE_BYTES = 1 << 16
#: Controls but those that texts and the logs of terminals have: BEL, BS, white space, ESC, SUB.
_NO_TEXT = bytes(point for point in range(32) if point not in (*range(7, 14), 0x1A, 0x1B))
MOST_CONTROLS = 3
_BINARY = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\udc80-\udcff]")


def refuse_other_files(data: bytes) -> None:
    """Refuse bytes that are a file of a known other kind.

    Raises:
        NotAText: It is one; the message names it and says what to do.
    """
    beginning = data[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    for start, name, way in _DOCUMENTS:
        if beginning.startswith(start):
            raise _not_a_text(name, way)
    if _reads_as_text(data[:_HEAD_BYTES]):
        return  # a text may begin with the letters of a signature
    for start, name, way in _SIGNATURES:
        if data.startswith(start):
            raise _not_a_text(name, way)
    for offset, signature, name, way in _INNER_SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            raise _not_a_text(name, way)


def refuse_binary(data: bytes) -> None:
    """Refuse bytes of an unknown kind that are no text in any encoding but the wide ones.

    Raises:
        NotAText: They hold many control characters that no text has.
    """
    sample = data[:SAMPLE_BYTES]
    controls = len(sample) - len(sample.translate(None, _NO_TEXT))
    if controls > max(MOST_CONTROLS, 0.03 * len(sample)):
        raise _not_a_text("a binary file", "upload the text itself")


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
