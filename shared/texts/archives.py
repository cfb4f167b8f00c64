"""Opens gzip and zip files that hold plain texts, within bounds of size and ratio."""

import io
import zipfile
import zlib

from shared.texts.findings import NotAText, TextTooLarge
from shared.texts.signatures import EMPTY_ZIP, GZIP, ZIP, refuse_zipped_documents

#: A text of prose shrinks to a third; beyond this, an archive is made to fill a memory.
MOST_RATIO = 200
#: Below this size any ratio is harmless.
FREE_BYTES = 4 * 1024 * 1024
MOST_MEMBERS = 1000
READ_BYTES = 1024 * 1024


def is_archive(data: bytes) -> bool:
    """Whether the bytes are a gzip or zip file."""
    return data.startswith((GZIP, ZIP, EMPTY_ZIP))


def open_archive(data: bytes, limit: int) -> list[tuple[str, bytes]]:
    """The files in a gzip or zip file, in the order of their names.

    Args:
        data: The bytes of the archive.
        limit: The most bytes that all its files may have together.

    Raises:
        NotAText: It is a document (docx, epub, …), damaged, encrypted or empty.
        TextTooLarge: It holds more than `limit`, or shrinks what no text would.
    """
    most = min(limit, max(FREE_BYTES, MOST_RATIO * len(data)))
    try:
        if data.startswith(GZIP):
            return [("", _gunzip(data, most, limit))]
        return _unzip(data, most, limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise NotAText(
            "damaged_archive",
            f"the archive can't be opened ({str(error) or type(error).__name__})",
            "unpack it and upload the text in it",
        ) from None


def _gunzip(data: bytes, most: int, limit: int) -> bytes:
    parts = io.BytesIO()
    rest = data
    while rest.startswith(GZIP):
        unpacker = zlib.decompressobj(wbits=31)
        rest_of_member = rest
        while not unpacker.eof:
            piece = unpacker.decompress(rest_of_member, READ_BYTES)
            rest_of_member = unpacker.unconsumed_tail
            if not piece and not rest_of_member and not unpacker.eof:
                raise EOFError("it is cut off")
            parts.write(piece)
            _check_size(parts.tell(), most, limit)
        rest = unpacker.unused_data
    return parts.getvalue()


def _unzip(data: bytes, most: int, limit: int) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        refuse_zipped_documents([member.filename for member in members])
        files = sorted(
            (each for each in members if not each.is_dir() and not _is_hidden(each.filename)),
            key=lambda each: each.filename,
        )
        if len(files) > MOST_MEMBERS:
            raise TextTooLarge(
                "too_many_files",
                f"the archive holds {len(files):,} files; at most {MOST_MEMBERS:,} are opened",
                "join the texts into fewer files",
            )
        if not files:
            raise NotAText("empty_archive", "the archive holds no files", "upload a text")
        found, total = [], 0
        for each in files:
            content = io.BytesIO()
            with archive.open(each) as member:
                while piece := member.read(READ_BYTES):
                    total += len(piece)
                    _check_size(total, most, limit)
                    content.write(piece)
            found.append((each.filename, content.getvalue()))
        return found


def _is_hidden(name: str) -> bool:
    """Whether a member is what a Mac or a file manager adds, not what somebody packed."""
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


def _check_size(size: int, most: int, limit: int) -> None:
    if size <= most:
        return
    if size > limit:
        raise TextTooLarge(
            "too_large",
            f"the archive holds more than the {limit:,} bytes that a text may have",
            "upload a part of it",
        )
    raise TextTooLarge(
        "too_dense",
        f"the archive unpacks to more than {MOST_RATIO} times its size, as no text does",
        "unpack it and upload the text in it",
    )
