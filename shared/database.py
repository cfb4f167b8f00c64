"""Engines for SQLite and PostgreSQL, set up so that transactions behave alike on both."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from select import POLLIN, poll
from typing import Any

import structlog
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    String,
    bindparam,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.orm import Session, sessionmaker

from shared.kept_connections import KEPT, KeptConnections
from shared.pipelined import DRIVER, pipelined, wait_for_results
from shared.prepared import RUNS_AGAIN, Prepared
from shared.sqlite_connections import (
    BUSY_TIMEOUT_SECONDS,
    READ_ONLY_OPTION,
    UNSYNCED_OPTION,
    WriteLock,
    flush_log,
    journal_mode,
    prepare,
    sqlite,
)

CONNECT_TIMEOUT_SECONDS = 10
#: How long a connection to PostgreSQL may be cut before it counts as lost. The kernel's default is
#: a quarter of an hour, and unlimited while nothing is sent.
LINK_TIMEOUT_SECONDS = 30
#: Connections are opened on demand and kept. Beyond this number each use opens and closes one,
#: which costs as much as ten statements.
POOL_SIZE = 16
#: How long a transaction on PostgreSQL may be idle.
IDLE_TIMEOUT_SECONDS = 30
#: In an engine's options: its kept connections of each kind.
READERS = "quire_readers"
WRITERS = "quire_writers"
UNSYNCED_WRITERS = "quire_unsynced_writers"
_READS: Mapping[str, Any] = {READ_ONLY_OPTION: True, RUNS_AGAIN: True}

_LIMIT_LOCK_WAITS = Prepared(
    select(func.set_config("lock_timeout", bindparam("timeout", type_=String), True).label("set"))
)

log = structlog.get_logger(__name__)


def make_engine(url: str, pool_size: int = POOL_SIZE) -> Engine:
    """Create an engine for ``sqlite:///PATH`` or ``postgresql://…``.

    A transaction on SQLite takes the write lock at its start (``BEGIN IMMEDIATE``). Under
    ``DEFERRED``, a transaction that reads first and writes later fails at once if another has
    written in between, whatever the time-out. Read-only transactions (`reading`) begin
    ``DEFERRED``. ``sqlite:///PATH?timeout=SECONDS`` sets how long a writer waits for another one.

    Args:
        url: The address.
        pool_size: The connections that threads use at the same time.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address, pool_size)
    return _postgresql_engine(address.set(drivername="postgresql+psycopg"), pool_size)


def _sqlite_engine(address: URL, pool_size: int) -> Engine:
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    busy_seconds = float(str(address.query.get("timeout", BUSY_TIMEOUT_SECONDS)))
    engine = create_engine(
        address,
        module=sqlite,
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        pool_size=pool_size + KEPT,
        max_overflow=POOL_SIZE,
    )
    event.listen(engine, "connect", partial(prepare, busy_seconds))
    write_lock = WriteLock(busy_seconds)
    event.listen(engine, "begin", write_lock.begin)
    event.listen(engine, "checkin", write_lock.release)
    unsynced = {UNSYNCED_OPTION: True}
    kept = {
        READERS: KeptConnections(engine, _READS),
        WRITERS: KeptConnections(engine, after_use=write_lock.leave),
        UNSYNCED_WRITERS: KeptConnections(engine, unsynced, after_use=write_lock.leave),
    }
    engine.update_execution_options(**kept)
    return engine


def _postgresql_engine(address: URL, pool_size: int) -> Engine:
    engine = create_engine(
        address.set(drivername=f"postgresql+{DRIVER}"),
        pool_pre_ping=True,
        pool_size=pool_size + KEPT,
        max_overflow=2 * POOL_SIZE,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "tcp_user_timeout": LINK_TIMEOUT_SECONDS * 1000,
            "keepalives_idle": LINK_TIMEOUT_SECONDS // 2,
            "keepalives_interval": LINK_TIMEOUT_SECONDS // 6,
            "keepalives_count": 3,
        },
    )
    # Other programs know no such driver.
    engine.url = address
    event.listen(engine, "connect", _prepare_postgresql)
    reads = {**_READS, "isolation_level": "AUTOCOMMIT"}
    wait_for_results(engine)
    writes = {"isolation_level": "AUTOCOMMIT"}
    writers = KeptConnections(engine, writes, is_silent=_is_silent)
    kept = {
        READERS: KeptConnections(engine, reads, is_silent=_is_silent),
        WRITERS: writers,
        UNSYNCED_WRITERS: writers,
    }
    engine.update_execution_options(**kept)
    return engine


def make_sessions(engine: Engine, *, read_only: bool = False) -> sessionmaker[Session]:
    """Create a factory of sessions whose rows stay readable after the commit.

    Args:
        engine: From `make_engine`.
        read_only: Never take SQLite's write lock; a write through such a session may fail.
    """
    return sessionmaker(
        engine.execution_options(**{READ_ONLY_OPTION: read_only}), expire_on_commit=False
    )


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """Open a read-only connection, which never waits for SQLite's write lock.

    On PostgreSQL, and with prepared statements on SQLite, each statement reads what is committed by
    then. Other statements on SQLite share one snapshot.

    Args:
        engine: From `make_engine`.
    """
    readers: KeptConnections = engine.get_execution_options()[READERS]
    return readers.one()


@contextmanager
def writing(engine: Engine, *, synced: bool = True) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block, and rolls back on an exception.

    It is what `engine.begin()` is, for transactions that come often. On PostgreSQL it is
    `pipelined`: an error may be raised by a later statement than the one that has failed.

    Args:
        engine: From `make_engine`.
        synced: Wait for the disk. Otherwise, on SQLite, a power cut may undo the transaction; the
            next one that waits keeps it, too, and so does `flush`. It is for what nobody is told
            before, and what means nothing without the processes that did it, which a power cut
            ends as well. PostgreSQL's workers may outlive it, so there nothing changes.
    """
    kept: KeptConnections = engine.get_execution_options()[WRITERS if synced else UNSYNCED_WRITERS]
    with kept.one() as connection:
        own = pipelined(connection) if engine.dialect.name == "postgresql" else nullcontext()
        with own, connection.begin():
            yield connection


def flush(engine: Engine) -> None:
    """Wait until no power cut can undo what was committed, also where it did not wait for the disk.

    Args:
        engine: From `make_engine`.

    Raises:
        OSError: The disk has failed.
    """
    if engine.dialect.name == "sqlite":
        flush_log(Path(str(engine.url.database)))


def limit_lock_waits(connection: Connection, seconds: float) -> None:
    """Fail, in this transaction, whatever would wait longer than this for another one's lock.

    On SQLite a transaction waits at its start alone, as long as the engine's time-out says.
    """
    if connection.dialect.name == "postgresql":
        _LIMIT_LOCK_WAITS.run(connection, {"timeout": f"{round(seconds * 1000)}ms"})


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # A client that is frozen or cut off in a transaction must not keep its locks: the one that
    # serialises claims would stop every worker. Not in the URL, since poolers reject it there.
    before, connection.autocommit = connection.autocommit, True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_SECONDS}s'")
    connection.autocommit = before


def _is_silent(connection: Connection) -> bool:
    """Whether PostgreSQL has sent nothing since it was last asked: it says so when it hangs up."""
    driver: Any = connection.connection.driver_connection
    if driver.closed:
        return False
    waiting = poll()
    waiting.register(driver.fileno(), POLLIN)
    return not waiting.poll(0)


def log_database(engine: Engine) -> None:
    """Log which database this is, and SQLite's journal mode."""
    if engine.dialect.name == "sqlite":
        log.info(
            "database",
            backend="sqlite",
            version=sqlite.sqlite_version,
            journal=journal_mode(),
        )
    else:
        log.info("database", backend="postgresql", host=engine.url.host, name=engine.url.database)
