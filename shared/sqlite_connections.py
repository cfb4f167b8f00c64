"""SQLite's driver, what each of its connections is told, and the lock that writers wait for."""

import importlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from shared.prepared import run_text

BUSY_TIMEOUT_SECONDS = 30
JOURNAL_RETRY_SECONDS = 0.02
#: The first SQLite without the bug that can corrupt a write-ahead log shared by processes.
FIRST_SAFE_WAL_VERSION = (3, 51, 3)
#: Marks a transaction that never takes the write lock.
READ_ONLY_OPTION = "quire_read_only"
#: Lets a transaction commit without waiting for the disk.
UNSYNCED_OPTION = "quire_unsynced"
#: Marks a connection that holds its process's write lock.
HOLDS_WRITE_LOCK = "quire_holds_write_lock"


def _sqlite() -> Any:
    # The package pysqlite3 brings a newer SQLite than most systems have, with a safe write-ahead
    # log. TensorFlow carries an older SQLite, whose symbols would win if it was loaded first:
    # DEEPBIND makes the package use its own.
    flags = sys.getdlopenflags()
    try:
        sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return importlib.import_module("sqlite3")
    finally:
        sys.setdlopenflags(flags)


#: The SQLite driver that every part of this installation uses.
sqlite = _sqlite()


def journal_mode(version: tuple[int, ...] = sqlite.sqlite_version_info) -> str:
    """Return ``WAL`` if this SQLite is known to be safe with it, else ``TRUNCATE``."""
    return "WAL" if version >= FIRST_SAFE_WAL_VERSION else "TRUNCATE"


def prepare(busy_seconds: float, connection: Any, _record: object) -> None:
    """Set up a new connection of the driver.

    Args:
        busy_seconds: How long it waits for another process's lock.
        connection: The driver's connection.
    """
    # The driver would open its own DEFERRED transactions; `WriteLock` opens ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(busy_seconds * 1000)}")
    _choose_journal(cursor, journal_mode().lower())
    # FULL in either mode: a job that was accepted with 202 survives a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _choose_journal(cursor: Any, wanted: str) -> None:
    # The first connection to a new file turns the write-ahead log on, which needs exclusive access.
    # SQLite does not wait for that by itself, whatever the busy time-out.
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute(f"PRAGMA journal_mode = {wanted}")
            return
        except sqlite.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(JOURNAL_RETRY_SECONDS)


def flush_log(path: Path) -> None:
    """Wait until the disk has all of a database that has been committed.

    It is for transactions that did not wait for that. They stand in the write-ahead log, or were
    copied into the database after a wait for the log.
    """
    log = Path(f"{path}-wal")
    try:
        # SQLite takes its locks on other files: closing this one releases none of them.
        descriptor = os.open(log, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WriteLock:
    """Admits one write transaction of this process to SQLite at a time.

    SQLite itself admits one writer, and the others poll at intervals of up to a tenth of a second,
    in no order: many threads of one process would mostly sleep.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        # With a rollback journal, a power cut could do more than undo.
        self._has_wal = journal_mode() == "WAL"

    def begin(self, connection: Connection) -> None:
        """Begin a transaction; a write transaction waits for the lock."""
        if connection.get_execution_options().get(READ_ONLY_OPTION, False):
            run_text(connection, "BEGIN DEFERRED")
            return
        # After a time-out SQLite is asked all the same: its error says why.
        if not connection.info.get(HOLDS_WRITE_LOCK) and self._lock.acquire(timeout=self._seconds):
            connection.info[HOLDS_WRITE_LOCK] = True
        unsynced = connection.get_execution_options().get(UNSYNCED_OPTION, False)
        if unsynced and self._has_wal and not connection.info.get(UNSYNCED_OPTION):
            connection.info[UNSYNCED_OPTION] = True
            run_text(connection, "PRAGMA synchronous = NORMAL")
        run_text(connection, "BEGIN IMMEDIATE")

    def release(self, connection: Any, record: Any) -> None:
        """Release the lock when a connection returns to the pool, and let it sync again."""
        if record.info.pop(UNSYNCED_OPTION, False) and connection is not None:
            connection.execute("PRAGMA synchronous = FULL")
        self.leave(record)

    def leave(self, holder: Any) -> None:
        """Release the lock if this connection holds it."""
        if holder.info.pop(HOLDS_WRITE_LOCK, False):
            self._lock.release()
