"""Making a backup while the server runs.

The bytes come first and take most of the time; then a view of the rows is taken. A blob that is
new since is added, and if one of the view has gone meanwhile, another view is taken: so all bytes
of the view are in the backup, and no reader holds up a writer for long.
"""

import errno
import gzip
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sqlalchemy import Connection, Engine, exists, select
from sqlalchemy.exc import OperationalError

from migrations import migrate
from quire.errors import CannotStart, InvalidInput
from quire.server.backup.archive import (
    FORMAT,
    ArchiveWriter,
    BlobsEntry,
    Manifest,
    TableEntry,
    blob_part,
    table_part,
)
from quire.server.backup.rows import encode
from quire.server.backup.source import LEFT_OUT, Snapshot, columns_of, needed, reflect, snapshot
from shared.database import make_engine, reading
from shared.tables import CHUNK_BYTES, Blob, BlobChunk

#: The size of a part of a table, before it is packed.
PART_BYTES = 1024 * 1024
#: How long a read of bytes may hold up writers, where SQLite has no write-ahead log. Shorter reads
#: would wait their own turn more often.
READ_SECONDS = 0.5
#: How often a view is taken whose bytes go while they are read.
VIEWS = 20

#: Called with the bytes of blobs that are written, and how many there will be.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made: what is in it, and the size of the file."""

    manifest: Manifest
    size_bytes: int


def make_backup(url: str, path: Path, progress: Progress = lambda _done, _total: None) -> Backup:
    """Write all of a database into a new file, while others use the database.

    Args:
        url: The database.
        path: The file, which must not exist. It appears once it is whole.
        progress: Is told how far it is.

    Raises:
        InvalidInput: The file can't be written, or the disk is full.
        CannotStart: The database can't be read, or has no schema or an unknown one.
    """
    engine = make_engine(url, pool_size=2)
    try:
        revision = _known_revision(url)
        with ArchiveWriter(path) as archive:
            with closing(_ShortReads(engine)) as reads:
                manifest = _Run(engine, archive, progress, reads).write(revision, path.parent)
            return Backup(manifest, archive.finish(manifest))
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise CannotStart(f"the database can't be read: {reason}") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InvalidInput(
            f"{path}: the disk is full. Free some of it, or write the backup to another disk"
        ) from None
    finally:
        engine.dispose()


def quire_version() -> str:
    """The version of this program."""
    try:
        return version("quire")
    except PackageNotFoundError:
        return "0.0.0"


def _known_revision(url: str) -> str:
    revision = migrate.current(url)
    if revision is None:
        raise CannotStart("the database is empty: there is nothing to back up")
    if not migrate.knows(revision):
        raise CannotStart(
            f"the database has schema {revision}, which a newer version of Quire made (this one "
            f"knows up to {migrate.newest()}): back it up with that version"
        )
    return revision


@dataclass
class _Run:
    engine: Engine
    archive: ArchiveWriter
    progress: Progress
    reads: "_ShortReads"
    #: The blobs that are in the archive, and their sizes.
    written: dict[str, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    done: int = 0
    total: int = 0

    def write(self, revision: str, directory: Path) -> Manifest:
        tables = reflect(self.engine)
        blobs_table = tables[Blob.__tablename__]
        wanted = select(blobs_table.c.sha256, blobs_table.c.size_bytes).where(needed(tables))
        with reading(self.engine) as connection:
            found = [(row.sha256, row.size_bytes) for row in connection.execute(wanted)]
        self._add_blobs(found)
        for _ in range(VIEWS):
            with snapshot(self.engine, tables, directory) as view:
                found = [(row.sha256, row.size_bytes) for row in view.connection.execute(wanted)]
                if self._add_blobs(found):
                    return self._add_rows(view, revision, dict(found))
        raise CannotStart(
            f"bytes were deleted as fast as they were read, {VIEWS} times: try again later"
        )

    def _add_blobs(self, found: Iterable[tuple[str, int]]) -> bool:
        """Add those blobs that are not in the archive; return whether none has gone meanwhile."""
        new = [(sha256, size) for sha256, size in found if sha256 not in self.written]
        self.total += sum(size for _, size in new)
        complete = True
        for sha256, size in new:
            if self._add_blob(sha256, size):
                self.written[sha256] = size
            else:
                complete = False
        self.reads.close()
        return complete

    def _add_blob(self, sha256: str, size: int) -> bool:
        digest = hashlib.sha256()
        for position in range(-(-size // CHUNK_BYTES)):
            piece = self.reads.piece(sha256, position)
            if piece is None:
                if not self.reads.has_blob(sha256):
                    return False
                break
            digest.update(piece)
            self.archive.add(blob_part(sha256, position), piece)
            self.done += len(piece)
            self.progress(self.done, self.total)
        if digest.hexdigest() != sha256:
            self.damaged.add(sha256)
        return True

    def _add_rows(self, view: Snapshot, revision: str, found: dict[str, int]) -> Manifest:
        entries = [self._add_table(view, name) for name in view.tables]
        return Manifest(
            format=FORMAT,
            quire=quire_version(),
            schema_revision=revision,
            made_at=view.taken_at,
            database="sqlite" if self.engine.dialect.name == "sqlite" else "postgresql",
            tables=entries,
            blobs=BlobsEntry(
                count=len(found),
                bytes=sum(found.values()),
                damaged=sorted(self.damaged & found.keys()),
            ),
            left_out=sorted(LEFT_OUT),
        )

    def _add_table(self, view: Snapshot, name: str) -> TableEntry:
        columns = columns_of(view.tables[name])
        kinds = list(columns.values())
        digest, rows, parts = hashlib.sha256(), 0, 0
        for lines in _in_parts(encode(row, kinds) for row in view.rows(name)):
            data = b"".join(lines)
            digest.update(data)
            packed = gzip.compress(data, compresslevel=1, mtime=0)
            self.archive.add(table_part(name, parts), packed)
            rows, parts = rows + len(lines), parts + 1
        return TableEntry(
            name=name, columns=columns, rows=rows, parts=parts, sha256=digest.hexdigest()
        )


class _ShortReads:
    """Reads pieces of blobs, many in one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: ExitStack | None = None
        self._since = 0.0

    def piece(self, sha256: str, position: int) -> bytes | None:
        """Return a piece of a blob; None if it is not there."""
        found: bytes | None = self._connection().scalar(
            select(BlobChunk.data).where(BlobChunk.sha256 == sha256, BlobChunk.position == position)
        )
        return found

    def has_blob(self, sha256: str) -> bool:
        """Whether a blob is still there."""
        return bool(self._connection().scalar(select(exists().where(Blob.sha256 == sha256))))

    def close(self) -> None:
        """Let writers in."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> Connection:
        if self._open is not None and time.monotonic() - self._since > READ_SECONDS:
            self.close()
        if self._open is None:
            self._open = ExitStack()
            self._current = self._open.enter_context(reading(self._engine))
            self._since = time.monotonic()
        return self._current


def _in_parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    part, size = [], 0
    for line in lines:
        part.append(line)
        size += len(line)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
