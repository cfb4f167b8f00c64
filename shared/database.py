"""Engines for the two databases, each set up so that its transactions mean the same."""

import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_SECONDS = 30
JOURNAL_RETRY_SECONDS = 0.02
CONNECT_TIMEOUT_SECONDS = 10
#: How long a connection to PostgreSQL may be cut before it counts as lost. The kernel would go on
#: for a quarter of an hour, and for ever where nothing is to be sent.
LINK_PATIENCE_SECONDS = 30
#: Opened when they are first needed, and kept. One beyond these is opened and closed each time,
#: which costs as much as ten statements.
KEPT_CONNECTIONS = 16
#: How long a process may hold a transaction open on PostgreSQL without doing anything in it.
IDLE_TIMEOUT_SECONDS = 30
#: The first release without the bug that can corrupt a write-ahead log shared by processes.
FIRST_SAFE_WAL_VERSION = (3, 51, 3)
READ_ONLY_OPTION = "quire_read_only"
#: Marks a connection whose transaction has its process's turn to write.
TURN = "quire_turn"

log = structlog.get_logger(__name__)


def _sqlite() -> Any:
    # The package brings a SQLite newer than most systems have, with a write-ahead log that is safe.
    # TensorFlow carries an older one, and a process that loads it first would have that one
    # everywhere: DEEPBIND lets the package find its own.
    flags = sys.getdlopenflags()
    try:
        sys.setdlopenflags(flags | getattr(os, "RTLD_DEEPBIND", 0))
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return importlib.import_module("sqlite3")
    finally:
        sys.setdlopenflags(flags)


#: The driver of SQLite that every part of this installation uses.
sqlite = _sqlite()


def make_engine(url: str, kept_connections: int = KEPT_CONNECTIONS) -> Engine:
    """An engine for ``sqlite:///PATH`` or ``postgresql://…``.

    A transaction on SQLite takes the write lock at its start (``BEGIN
    IMMEDIATE``): one that reads first and writes later under ``DEFERRED`` fails
    at once when another has written in between, whatever the time-out. Reads
    that say so (`reading`) begin ``DEFERRED``. ``sqlite:///PATH?timeout=SECONDS``
    sets how long a writer waits for another one.

    Args:
        url: The address.
        kept_connections: As many as threads use at once.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        if address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        busy_seconds = float(str(address.query.get("timeout", BUSY_TIMEOUT_SECONDS)))
        engine = create_engine(
            address,
            module=sqlite,
            connect_args={"timeout": busy_seconds, "check_same_thread": False},
            pool_size=kept_connections,
            max_overflow=KEPT_CONNECTIONS,
        )
        event.listen(engine, "connect", partial(_prepare_sqlite, busy_seconds))
        turns = _Turns(busy_seconds)
        event.listen(engine, "begin", turns.begin)
        event.listen(engine, "checkin", turns.give_back)
        return engine
    address = address.set(drivername="postgresql+psycopg")
    engine = create_engine(
        address,
        pool_pre_ping=True,
        pool_size=kept_connections,
        max_overflow=2 * KEPT_CONNECTIONS,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "tcp_user_timeout": LINK_PATIENCE_SECONDS * 1000,
            "keepalives_idle": LINK_PATIENCE_SECONDS // 2,
            "keepalives_interval": LINK_PATIENCE_SECONDS // 6,
            "keepalives_count": 3,
        },
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def make_sessions(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Sessions whose rows stay readable after the commit.

    Args:
        engine: From `make_engine`.
        read_only: Never take SQLite's write lock; a write through such a session may fail.
    """
    return sessionmaker(
        engine.execution_options(**{READ_ONLY_OPTION: read_only}), expire_on_commit=False
    )


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads, and so never waits for SQLite's write lock."""
    with engine.connect().execution_options(**{READ_ONLY_OPTION: True}) as connection:
        yield connection


def journal_mode(version: tuple[int, ...] = sqlite.sqlite_version_info) -> str:
    """``WAL`` where this SQLite is known to be safe with it, else the rollback journal."""
    return "WAL" if version >= FIRST_SAFE_WAL_VERSION else "TRUNCATE"


def _prepare_sqlite(busy_seconds: float, connection: Any, _record: object) -> None:
    # The driver would open its own DEFERRED transactions; `_Turns` opens ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(busy_seconds * 1000)}")
    _choose_journal(cursor, journal_mode().lower())
    # FULL in either mode: a job that was answered with 202 outlives a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # Who is frozen, or cut off, in a transaction must not keep its locks: the one that
    # serialises claims would stop every worker. Not in the address, since a pooler refuses it.
    before, connection.autocommit = connection.autocommit, True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_SECONDS}s'")
    connection.autocommit = before


def _choose_journal(cursor: Any, wanted: str) -> None:
    # The first connection to a new file turns the write-ahead log on, for which it needs the file
    # alone; SQLite does not wait for that by itself, whatever the busy time-out.
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute(f"PRAGMA journal_mode = {wanted}")
            return
        except sqlite.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(JOURNAL_RETRY_SECONDS)


class _Turns:
    """One writing transaction of this process on SQLite at a time, first come, first served.

    SQLite itself lets one writer in and the others ask again after a nap of up to a tenth of a
    second, in no order: many threads of one process would mostly sleep.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turn = threading.Lock()

    def begin(self, connection: Connection) -> None:
        """Begin a transaction, a writing one when it is its turn."""
        if connection.get_execution_options().get(READ_ONLY_OPTION, False):
            connection.exec_driver_sql("BEGIN DEFERRED")
            return
        # One that waits in vain asks SQLite all the same, and hears why.
        if not connection.info.get(TURN) and self._turn.acquire(timeout=self._seconds):
            connection.info[TURN] = True
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def give_back(self, _connection: object, record: Any) -> None:
        """Let the next one begin, once a connection is back in the pool."""
        if record.info.pop(TURN, False):
            self._turn.release()


def log_database(engine: Engine) -> None:
    """Write into the log which database this is, and how SQLite keeps its journal."""
    if engine.dialect.name == "sqlite":
        log.info(
            "database",
            backend="sqlite",
            version=sqlite.sqlite_version,
            journal=journal_mode(),
        )
    else:
        log.info("database", backend="postgresql", host=engine.url.host, name=engine.url.database)
