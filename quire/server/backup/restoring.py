"""Restoring a backup into an empty database.

The rows are inserted into the schema that they had, which is migrated afterwards. An SQLite file
gets its name once all is done; on PostgreSQL all rows are inserted in one transaction. Jobs that
ran when the backup was made return to the queue, as if their workers had been stopped then.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    Table,
    event,
    func,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError

from migrations import migrate
from quire.errors import CannotStart, InvalidInput
from quire.server.backup.archive import ArchiveReader, Manifest, TableEntry
from quire.server.backup.making import Progress
from quire.server.backup.rows import decode, portable_table
from shared.database import make_engine
from shared.queue import Queue
from shared.settings import Settings
from shared.tables import CHUNK_BYTES, Blob, BlobChunk, Device

#: Rows, and pieces of blobs of 1 MiB, that are inserted by one statement.
ROWS_AT_ONCE, PIECES_AT_ONCE = 500, 4
#: What an SQLite file takes at most, as a multiple of the backup: its log, and indices.
DISK_FACTOR = 1.5
OWNER_ONLY = 0o077


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        manifest: Of the backup.
        revision: The schema that the database has now.
        requeued: How many jobs ran when the backup was made, and wait now.
    """

    manifest: Manifest
    revision: str
    requeued: int


def restore_backup(
    path: Path, settings: Settings, progress: Progress = lambda _done, _total: None
) -> Restored:
    """Restore a backup into the database of the settings, which must be empty and unused.

    Args:
        path: The backup, made on either kind of database.
        settings: Name the database.
        progress: Is told how far it is.

    Raises:
        InvalidInput: The backup is damaged, or newer than this version of Quire.
        CannotStart: The database is not empty, is in use, can't be reached, or has no room.
    """
    with ArchiveReader(path) as archive:
        manifest = archive.manifest
        if not migrate.knows(manifest.schema_revision):
            raise InvalidInput(
                f"{path} has schema {manifest.schema_revision} of Quire {manifest.quire}, and this "
                f"version knows up to {migrate.newest()}: restore it with that version or a newer "
                "one"
            )
        before = os.umask(OWNER_ONLY)
        try:
            if make_url(settings.database).get_backend_name() == "sqlite":
                return _into_sqlite(archive, path, settings, progress)
            return _into_postgresql(archive, settings, progress)
        except OperationalError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise CannotStart(f"the database can't be used: {reason}") from None
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise InvalidInput(
                f"{path} holds what the database refuses ({reason}), and nothing was restored"
            ) from None
        finally:
            os.umask(before)


def _into_sqlite(
    archive: ArchiveReader, path: Path, settings: Settings, progress: Progress
) -> Restored:
    database = Path(str(make_url(settings.database).database))
    if database.exists():
        _require_unused_file(database)
        engine = make_engine(settings.database)
        try:
            _require_empty(engine)
        finally:
            engine.dispose()
    database.parent.mkdir(parents=True, exist_ok=True)
    need, free = round(path.stat().st_size * DISK_FACTOR), shutil.disk_usage(database.parent).free
    if free < need + settings.min_free_bytes:
        raise CannotStart(
            f"{database.parent} has {free:,} bytes free, and the backup needs {need:,} and the "
            f"{settings.min_free_bytes:,} of QUIRE_MIN_FREE_BYTES: free some, or choose another "
            "disk"
        )
    part = database.with_name(f".{database.name}.restoring")
    _remove(part)
    url = f"sqlite:///{part}"
    try:
        migrate.upgrade(url, archive.manifest.schema_revision)
        engine = make_engine(url)
        event.listen(engine, "connect", _wait_for_no_disk)
        try:
            _load(engine, archive, progress)
            restored = _finish(engine, url, settings, archive.manifest)
        finally:
            engine.dispose()
        with part.open("rb") as file:
            os.fsync(file.fileno())
        _remove(database)
        part.rename(database)
    finally:
        _remove(part)
    return restored


def _wait_for_no_disk(connection: Any, _record: object) -> None:
    # Nobody knows the file yet; what is in it is written to the disk before it has a name.
    connection.execute("PRAGMA synchronous = OFF")


def _into_postgresql(archive: ArchiveReader, settings: Settings, progress: Progress) -> Restored:
    url, revision = settings.database, archive.manifest.schema_revision
    engine = make_engine(url)
    try:
        _require_unused_server(engine)
        _require_empty(engine)
        if migrate.current(url) not in (None, revision):
            migrate.downgrade(url)
        migrate.upgrade(url, revision)
        _load(engine, archive, progress)
        return _finish(engine, url, settings, archive.manifest)
    finally:
        engine.dispose()


def _load(engine: Engine, archive: ArchiveReader, progress: Progress) -> None:
    """Insert all rows, and the bytes as soon as the blobs have theirs."""
    with engine.connect() as connection:
        for table in archive.manifest.tables:
            for _ in _insert_rows(connection, archive, table):
                _commit_part(connection)
            if table.name == Blob.__tablename__:
                for _ in _insert_bytes(connection, archive, progress):
                    _commit_part(connection)
        if connection.dialect.name == "postgresql":
            _advance_sequences(connection)
        connection.commit()


def _commit_part(connection: Connection) -> None:
    # One transaction would make the log of an SQLite file as large as the file.
    if connection.dialect.name == "sqlite":
        connection.commit()


def _insert_rows(
    connection: Connection, archive: ArchiveReader, entry: TableEntry
) -> Iterator[int]:
    table = portable_table(entry.name, entry.columns)
    lines = archive.lines(entry)
    while rows := list(islice(lines, ROWS_AT_ONCE)):
        try:
            values = [decode(row, entry.columns) for row in rows]
        except ValueError:
            raise archive.damaged(f"table {entry.name}") from None
        connection.execute(insert(table), values)
        yield len(values)


def _insert_bytes(
    connection: Connection, archive: ArchiveReader, progress: Progress
) -> Iterator[None]:
    total, done = archive.manifest.blobs.bytes, 0
    sizes = connection.execute(select(Blob.sha256, Blob.size_bytes)).all()
    for sha256, size in sizes:
        pieces: Iterator[tuple[int, bytes]] = enumerate(archive.blob(sha256, size, CHUNK_BYTES))
        while some := list(islice(pieces, PIECES_AT_ONCE)):
            rows = [
                {"sha256": sha256, "position": position, "data": data} for position, data in some
            ]
            connection.execute(insert(BlobChunk), rows)
            done += sum(len(data) for _, data in some)
            progress(done, total)
            yield


def _advance_sequences(connection: Connection) -> None:
    """Let PostgreSQL go on counting after the highest number that was inserted."""
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.tables.values():
        for column in table.primary_key:
            name = connection.scalar(
                text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": f'"{table.name}"', "column": column.name},
            )
            if name is not None:
                highest = connection.scalar(select(func.max(column))) or 0
                connection.execute(
                    text("SELECT setval(:name, :next, false)"), {"name": name, "next": highest + 1}
                )


def _finish(engine: Engine, url: str, settings: Settings, manifest: Manifest) -> Restored:
    """Migrate to the newest schema, and return the jobs that ran to the queue."""
    migrate.upgrade(url)
    # Neither the time since the backup nor the loss of the worker is held against a job.
    queue = Queue(engine, settings, clock=lambda _connection: manifest.made_at)
    return Restored(manifest, migrate.newest(), queue.release_all("restored"))


def _require_empty(engine: Engine) -> None:
    metadata = MetaData()
    with engine.connect() as connection:
        metadata.reflect(connection)
        strange = "users" not in metadata.tables and bool(metadata.tables)
        if strange and set(metadata.tables) != {"alembic_version"}:
            raise CannotStart(
                "the database holds tables that are not Quire's: restore into an empty database"
            )
        for table in metadata.sorted_tables:
            if table.name != "alembic_version" and _has_rows(connection, table):
                raise CannotStart(_in_use(table.name))


def _in_use(table: str) -> str:
    if table == Device.__tablename__:
        return (
            "workers are registered in the database: stop every API and every worker, and restore "
            "into an empty database"
        )
    return (
        f"the database is not empty (table {table} has rows), and a restore would mix two "
        "servers: restore into another database, or with --data-dir into a new directory"
    )


def _has_rows(connection: Connection, table: Table) -> bool:
    return connection.execute(select(1).select_from(table).limit(1)).first() is not None


def _require_unused_server(engine: Engine) -> None:
    with engine.connect() as connection:
        others = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )
    if others:
        raise CannotStart(
            f"{others} other connections use the database: stop every API and every worker that "
            "has its DATABASE_URL"
        )


def _require_unused_file(path: Path) -> None:
    """Look whether a process of this machine has an SQLite file open.

    Raises:
        CannotStart: One has.
    """
    inode = path.stat().st_ino, path.stat().st_dev
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = descriptor.stat()
        except OSError:
            continue
        pid = int(descriptor.parts[2])
        if (found.st_ino, found.st_dev) == inode and pid != os.getpid():
            raise CannotStart(f"process {pid} uses {path}: stop every API and every worker")


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
