"""A consistent view of all rows of a database that is in use, without their bytes.

On PostgreSQL it is a snapshot, which holds nobody up. On SQLite the rows are copied into a
temporary file by one statement a table: with the rollback journal a writer waits for readers, and
SQLite copies a hundred times faster than a backup is written.

Bytes are not in the view. They never change, and are read piece by piece.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    Select,
    Table,
    create_engine,
    or_,
    select,
    text,
)
from sqlalchemy.pool import NullPool

from quire.server.backup.rows import ColumnKind, kind_of
from shared.clock import database_now
from shared.sqlite_connections import BUSY_TIMEOUT_SECONDS, READ_ONLY_OPTION, sqlite
from shared.tables import Blob, BlobChunk, Device, PageSession, SignInLink

#: The tables whose rows are in no backup: sign-ins, which must not come back to life, and workers,
#: which belong to processes. Chunks are in it as bytes. All other tables are in it, unseen.
LEFT_OUT = frozenset(
    table.__tablename__ for table in (PageSession, SignInLink, Device, BlobChunk)
) | {"alembic_version"}
#: Rows that are in memory at the same time.
ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class Snapshot:
    """A view of the rows.

    Attributes:
        connection: Reads them.
        tables: What the tables are, in an order in which a row comes after those it refers to.
        taken_at: When, by the database's clock.
    """

    connection: Connection
    tables: Mapping[str, Table]
    taken_at: datetime

    def rows(self, name: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table; of `blobs` only those that another row needs."""
        table = self.tables[name]
        query: Select[Any] = select(table)
        if name == Blob.__tablename__:
            query = query.where(needed(self.tables))
        result = self.connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
        for row in result:
            yield tuple(row)


def reflect(engine: Engine) -> dict[str, Table]:
    """Return the tables that are in a backup, parents before children."""
    metadata = MetaData()
    with engine.connect().execution_options(**{READ_ONLY_OPTION: True}) as connection:
        metadata.reflect(connection)
    return {table.name: table for table in metadata.sorted_tables if table.name not in LEFT_OUT}


def needed(tables: Mapping[str, Table]) -> ColumnElement[bool]:
    """The condition that some row of any table refers to a row of `blobs`."""
    blobs = tables[Blob.__tablename__]
    references = [
        key.parent
        for table in tables.values()
        for key in table.foreign_keys
        if key.column.table.name == blobs.name
    ]
    return or_(*(blobs.c.sha256.in_(select(column)) for column in references))


@contextmanager
def snapshot(engine: Engine, tables: Mapping[str, Table], directory: Path) -> Iterator[Snapshot]:
    """Take a view of the rows, and keep it inside the block.

    Args:
        engine: The database.
        tables: From `reflect`.
        directory: Where SQLite's copy is, as long as it is needed.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection:
            # The view is held while bytes are written, which may take longer than the time-out.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            yield Snapshot(connection, tables, database_now(connection))
        return
    with tempfile.TemporaryDirectory(prefix=".quire-backup-", dir=directory) as name:
        path = Path(name, "rows.db")
        _copy(str(engine.url.database), path, tables)
        copy = create_engine(f"sqlite:///{path}", module=sqlite, poolclass=NullPool)
        with copy.connect() as connection:
            taken_at = database_now(connection)
            yield Snapshot(connection, tables, taken_at)


def _copy(database: str, path: Path, tables: Mapping[str, Table]) -> None:
    """Copy the rows of an SQLite file into another one, in one read transaction."""
    connection = sqlite.connect(database, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    try:
        connection.execute("ATTACH ? AS copy", (str(path),))
        connection.execute("PRAGMA copy.journal_mode = OFF")
        connection.execute("PRAGMA copy.synchronous = OFF")
        connection.execute("BEGIN")
        for name in tables:
            table = _quoted(name)
            connection.execute(f"CREATE TABLE copy.{table} AS SELECT * FROM main.{table}")  # noqa: S608 - names of its own tables
        connection.execute("COMMIT")
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def columns_of(table: Table) -> dict[str, ColumnKind]:
    """Map the columns of a table to their kinds."""
    return {column.name: kind_of(column) for column in table.columns}
