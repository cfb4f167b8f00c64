"""Connections that stay out of the pool between their uses.

To take a connection from the pool and to return it costs more than a small select; on PostgreSQL,
where the pool asks each time whether the connection is alive, much more. What happens hundreds of
times a second therefore keeps its connections.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, event

#: So many connections of each kind are kept for the next use; others go back to the pool.
KEPT = 4
#: A connection that was idle for longer goes through the pool, which asks whether it is alive.
FRESH_SECONDS = 1.0
#: In a connection's `info`: it was lost and replaced during its use.
REPLACED = "quire_replaced"


class KeptConnections:
    """The kept connections of one kind.

    Args:
        engine: Opens them.
        options: The execution options of the kind.
        is_silent: Whether the server has sent nothing on an idle connection. It sends something
            when it hangs up, so any other connection goes through the pool.
        after_use: Called after each use of a connection that is kept.
    """

    def __init__(
        self,
        engine: Engine,
        options: Mapping[str, Any] = MappingProxyType({}),
        is_silent: Callable[[Connection], bool] = lambda connection: True,
        after_use: Callable[[Connection], object] = lambda connection: None,
    ) -> None:
        self._engine = engine
        self._options = options
        self._is_silent = is_silent
        self._after_use = after_use
        #: Those that nobody uses, and since when (monotonic); the last one is the warmest.
        self._idle: list[tuple[Connection, float]] = []
        #: How often the engine was disposed of: its pool and its connections are others since.
        self._disposals = 0
        self._lock = threading.Lock()
        event.listen(engine, "engine_disposed", self._dispose)

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Use a connection. A transaction that is open at the end is rolled back."""
        disposals = self._disposals
        connection = self._take()
        try:
            yield connection
            if connection.in_transaction():
                connection.rollback()
        except BaseException:
            # Whatever state it is in, the pool resets it: after a failed COMMIT the driver is
            # still in a transaction, which SQLAlchemy takes for ended.
            self._give_up(connection, disposals)
            raise
        self._put(connection, disposals)

    def _take(self) -> Connection:
        now = time.monotonic()
        while True:
            with self._lock:
                connection, since = self._idle.pop() if self._idle else (None, now)
            if connection is None:
                return self._engine.connect().execution_options(**self._options)
            if now - since <= FRESH_SECONDS and self._is_silent(connection):
                return connection
            connection.close()

    def _put(self, connection: Connection, disposals: int) -> None:
        keeps = not (
            connection.closed or connection.invalidated or connection.info.pop(REPLACED, False)
        )
        if keeps:
            self._after_use(connection)
        with self._lock:
            keeps = keeps and disposals == self._disposals and len(self._idle) < KEPT
            if keeps:
                self._idle.append((connection, time.monotonic()))
        if not keeps:
            self._give_up(connection, disposals)

    def _give_up(self, connection: Connection, disposals: int) -> None:
        """Return a connection to the pool, or end it if its pool is gone and would keep it open."""
        with self._lock:
            is_current = disposals == self._disposals
        if not is_current and not connection.closed:
            connection.invalidate()
        connection.close()

    def _dispose(self, _engine: Engine) -> None:
        """Close what is idle. What is in use is not kept afterwards."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._disposals += 1
        for connection, _ in idle:
            connection.invalidate()
            connection.close()
