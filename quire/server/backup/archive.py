"""The file of a backup: parts of tables and pieces of blobs, then a manifest that names them all.

```
blobs/e3/e3b0…855/000000        a piece of a blob, at most 1 MiB
tables/jobs/000000.jsonl.gz     rows, one JSON array a line, in the order of the manifest's columns
manifest.json                   schema, tables, counts and hashes
manifest.sha256                 the SHA-256 of manifest.json
```

The manifest comes last, so that a file that was cut off has none.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from quire.config import PRIVATE_FILE
from quire.errors import InvalidInput
from quire.server.backup.rows import ColumnKind

FORMAT = 1
MANIFEST, MANIFEST_SHA256 = "manifest.json", "manifest.sha256"


class BadBackup(InvalidInput):
    """A file is no backup, or no longer the one that was written."""


class TableEntry(BaseModel):
    """A table: its columns, and the hash over its unpacked parts."""

    model_config = ConfigDict(frozen=True)

    name: str
    columns: dict[str, ColumnKind]
    rows: int
    parts: int
    sha256: str


class BlobsEntry(BaseModel):
    """The blobs: the table `blobs` names them, and each name is the hash of its bytes."""

    model_config = ConfigDict(frozen=True)

    count: int
    bytes: int
    #: Those that were damaged already where the backup was made.
    damaged: list[str]


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(frozen=True)

    format: int
    #: The version of Quire that made it, and the revision of the schema.
    quire: str
    schema_revision: str
    #: By the clock of the database.
    made_at: datetime
    database: Literal["sqlite", "postgresql"]
    tables: list[TableEntry]
    blobs: BlobsEntry
    left_out: list[str]


def blob_part(sha256: str, position: int) -> str:
    """Name the member that holds a piece of a blob."""
    return f"blobs/{sha256[:2]}/{sha256}/{position:06}"


def table_part(table: str, number: int) -> str:
    """Name the member that holds a part of a table's rows."""
    return f"tables/{table}/{number:06}.jsonl.gz"


class ArchiveWriter:
    """Writes a backup beside its final name, and renames it once it is whole.

    Args:
        path: The file, which must not exist.

    Raises:
        InvalidInput: The file exists, or can't be written.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise InvalidInput(f"{path} exists: give a new name, or move it away")
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        try:
            self._part.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = open(os.open(self._part, flags, PRIVATE_FILE), "wb")  # noqa: SIM115
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidInput(f"{path} can't be written ({reason}): give another name") from None
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def add(self, name: str, data: bytes) -> None:
        """Add a member."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), PRIVATE_FILE
        self._tar.addfile(member, io.BytesIO(data))

    def finish(self, manifest: Manifest) -> int:
        """Write the manifest, wait for the disk, and give the file its name.

        Returns:
            The size of the file in bytes.
        """
        text = manifest.model_dump_json(indent=1).encode()
        self.add(MANIFEST, text)
        self.add(MANIFEST_SHA256, hashlib.sha256(text).hexdigest().encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._part.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return size


class ArchiveReader:
    """Reads a backup. Every member is looked up by its name.

    Args:
        path: The file.

    Raises:
        BadBackup: It is no whole backup, or one of a newer format.
        InvalidInput: It can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidInput(f"{path} can't be read ({reason})") from None
        try:
            self._members = self._index()
            self.manifest = self._read_manifest()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, name: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            BadBackup: The backup has no such member.
        """
        if name not in self._members:
            raise BadBackup(f"{self._path} is damaged: {name} is missing. Use another backup")
        offset, size = self._members[name]
        self._file.seek(offset)
        return self._file.read(size)

    def lines(self, table: TableEntry) -> Iterator[bytes]:
        """Yield the lines of a table, and check their number and hash after the last one.

        Raises:
            BadBackup: They are not those that were written.
        """
        digest, count = hashlib.sha256(), 0
        for number in range(table.parts):
            try:
                data = gzip.decompress(self.read(table_part(table.name, number)))
            except (OSError, EOFError, zlib.error):
                raise self.damaged(f"table {table.name}") from None
            digest.update(data)
            for line in data.splitlines():
                count += 1
                yield line
        if (count, digest.hexdigest()) != (table.rows, table.sha256):
            raise self.damaged(f"table {table.name}")

    def blob(self, sha256: str, size: int, piece_bytes: int) -> Iterator[bytes]:
        """Yield the pieces of a blob, and check its size and hash after the last one.

        One that was damaged where the backup was made is given as it is.

        Raises:
            BadBackup: It is not the blob that was written.
        """
        digest, length = hashlib.sha256(), 0
        known_damage = sha256 in self.manifest.blobs.damaged
        for position in range(-(-size // piece_bytes)):
            name = blob_part(sha256, position)
            if known_damage and name not in self._members:
                return
            piece = self.read(name)
            digest.update(piece)
            length += len(piece)
            yield piece
        if (length, digest.hexdigest()) != (size, sha256) and not known_damage:
            raise self.damaged(f"blob {sha256}")

    def damaged(self, what: str) -> BadBackup:
        """The error of a part that is not what was written."""
        return BadBackup(
            f"{self._path} is damaged: {what} is not what was written. Use another backup"
        )

    def _index(self) -> dict[str, tuple[int, int]]:
        members: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                for member in tar:
                    members[member.name] = (member.offset_data, member.size)
        except tarfile.TarError:
            raise BadBackup(f"{self._path} is no backup of Quire, or damaged") from None
        return members

    def _read_manifest(self) -> Manifest:
        if MANIFEST not in self._members or MANIFEST_SHA256 not in self._members:
            raise BadBackup(
                f"{self._path} is no whole backup of Quire: it has no manifest, which is written "
                "last. Use another backup"
            )
        text = self.read(MANIFEST)
        if hashlib.sha256(text).hexdigest().encode() != self.read(MANIFEST_SHA256):
            raise self.damaged(MANIFEST)
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError:
            manifest = None
        if manifest is None or manifest.format != FORMAT:
            raise BadBackup(
                f"{self._path} has a format that this version of Quire does not know (it knows "
                f"{FORMAT}): use the version that made it, or a newer one"
            )
        return manifest
