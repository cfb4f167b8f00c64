"""Connections that stay out of the pool between their uses.

To take a connection from the pool and to return it costs more than a small select; on PostgreSQL,
where the pool asks each time whether the connection is alive, much more. What happens hundreds of
times a second therefore keeps its connections.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
        after_use: Called after each use of a connection that is kept.
    """

    def __init__(
        self,
        engine: Engine,
        options: Mapping[str, Any],
        after_use: Callable[[Connection], object] = lambda connection: None,
    ) -> None:
        self._engine = engine
        self._options = options
        self._after_use = after_use
        #: Those that nobody uses, and since when (monotonic); the last one is the warmest.
        self._idle: list[tuple[Connection, float]] = []
        self._lock = threading.Lock()
        event.listen(engine, "engine_disposed", self._dispose)

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Use a connection. A transaction that is open at the end is rolled back."""
        connection = self._take()
        try:
            yield connection
        finally:
            self._put(connection)

    def _take(self) -> Connection:
        now = time.monotonic()
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return self._engine.connect().execution_options(**self._options)
            if now - since <= FRESH_SECONDS:
                return connection
            connection.close()

    def _put(self, connection: Connection) -> None:
        try:
            if connection.in_transaction():
                connection.rollback()
            keeps = not (connection.closed or connection.invalidated)
            if keeps:
                self._after_use(connection)
                keeps = not connection.info.pop(REPLACED, False)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            keeps = keeps and len(self._idle) < KEPT
            if keeps:
                self._idle.append((connection, time.monotonic()))
        if not keeps:
            connection.close()

    def _dispose(self, _engine: Engine) -> None:
        """Close what is idle; the pool that is gone closes what comes back to it."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.invalidate()
            connection.close()
