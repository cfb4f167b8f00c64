"""The bodies of uploads, made piece by piece: no file is in memory as a whole."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quire.client.requests.sendable import check_sendable
from quire.errors import InvalidInput

CHUNK_BYTES = 256 * 1024

#: Called with the bytes transferred so far and the total; the total is None where it is unknown.
ProgressCallback = Callable[[int, int | None], None]
#: What is uploaded: bytes, a file, or names and contents of several.
Data = bytes | Path | Sequence[tuple[str, bytes | Path]]


@dataclass(frozen=True, slots=True)
class Body:
    """A body, which can be sent more than once.

    Attributes:
        media_type: The value of Content-Type.
        parts: What it consists of, in order.
        size: Its length in bytes.
    """

    media_type: str
    parts: Sequence[bytes | Path]
    size: int

    def pieces(self, on_progress: ProgressCallback | None = None) -> Iterator[bytes]:
        """Yield the body in pieces, and tell how much of it is sent.

        Raises:
            InvalidInput: A file can't be read.
        """
        done = 0
        for part in self.parts:
            for piece in pieces_of(part):
                yield piece
                done += len(piece)
                if on_progress:
                    on_progress(done, self.size)


def body_of(data: Data, fields: Mapping[str, str | None]) -> tuple[Body, dict[str, str | None]]:
    """Return the body of an upload, and what of the fields goes into the query.

    Args:
        data: What is uploaded.
        fields: The fields of the upload; those that are None are left out.

    Raises:
        InvalidInput: A file can't be read, or a field holds what can't be sent.
    """
    if isinstance(data, bytes | Path):
        return Body("application/octet-stream", [data], size_of(data)), dict(fields)
    for field, value in fields.items():
        check_sendable(field, value)
    kind, parts = form(data, fields)
    return Body(kind, parts, sum(map(size_of, parts))), {}


def form(
    files: Sequence[tuple[str, bytes | Path]], fields: Mapping[str, str | None]
) -> tuple[str, list[bytes | Path]]:
    """Files and fields as `multipart/form-data` (RFC 7578): the media type and the body's parts."""
    boundary = uuid.uuid4().hex
    parts: list[bytes | Path] = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
        if value is not None
    ]
    for name, data in files:
        quoted = name.replace("\\", "_").replace('"', "%22").replace("\r", " ").replace("\n", " ")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts += [head.encode(errors="replace"), data, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", parts


def size_of(part: bytes | Path) -> int:
    """Return how many bytes a part has.

    Raises:
        InvalidInput: The file can't be read.
    """
    if isinstance(part, bytes):
        return len(part)
    try:
        return part.stat().st_size
    except OSError as error:
        raise unreadable(part, error) from None


def pieces_of(part: bytes | Path) -> Iterator[bytes]:
    """Yield the bytes of a part in pieces.

    Raises:
        InvalidInput: The file can't be read.
    """
    if isinstance(part, bytes):
        for start in range(0, len(part), CHUNK_BYTES):
            yield part[start : start + CHUNK_BYTES]
        return
    try:
        with part.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece
    except OSError as error:
        raise unreadable(part, error) from None


def unreadable(path: str | Path, error: OSError) -> InvalidInput:
    """The error for a file that can't be read."""
    return InvalidInput(f"{path} can't be read: {(error.strerror or str(error)).lower()}")
