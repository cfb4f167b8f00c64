"""How long requests took, and how many streams are open: for `/metrics`, over all processes.

Each process counts in memory. It writes its counts into the database every few seconds while there
are requests, and its open streams into Redis, where the number of a process that died expires.
"""

import uuid
from collections.abc import Callable
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from api.traces.deferred import Deferred
from shared.broker import CONNECT_TIMEOUT_SECONDS, redis_url
from shared.counters import HTTP, SharedTally

WRITE_SECONDS = 5.0
#: The open streams of each process: a hash, whose fields are «count:time» by Redis's clock.
STREAMS_KEY = "quire:streams"
#: How long a process may say nothing before its streams count as closed.
SILENT_SECONDS = 30.0
#: Any other method is no label: a client chooses it freely.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger(__name__)


class HttpFigures:
    """The figures of one process.

    Args:
        engine: The database.
        broker_url: The Redis server.
        open_streams: Counts the event streams that this process has open.
    """

    def __init__(self, engine: Engine, broker_url: str, open_streams: Callable[[], int]) -> None:
        self._engine = engine
        self._open_streams = open_streams
        self._redis = redis.Redis.from_url(
            redis_url(broker_url),
            socket_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._id = uuid.uuid4().hex
        self._told = 0
        self._tally = SharedTally()
        self._writing = Deferred(self.write, WRITE_SECONDS)

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        name = method if method in METHODS else "other"
        self._tally.observe(HTTP, name, route, str(status), value=seconds)
        self._writing.schedule()

    def write(self) -> None:
        """Write what this process has counted."""
        counted = self._tally.take()
        try:
            if counted:
                with self._engine.begin() as connection:
                    counted.post(connection)
        except DBAPIError as error:
            log.warning("http_figures_not_written", reason=str(error.orig).strip())
            self._tally.merge(counted)
        self._tell_streams()

    def streams(self) -> int | None:
        """The open event streams of all processes; None if Redis is away."""
        try:
            now = self._redis.time()[0]
            fields: dict[Any, Any] = self._redis.hgetall(STREAMS_KEY)
        except redis.RedisError:
            return None
        total = self._open_streams()
        for name, value in fields.items():
            count, _, told_at = value.decode().partition(":")
            if name.decode() != self._id and now - int(told_at) < SILENT_SECONDS:
                total += int(count)
        return total

    def _tell_streams(self) -> None:
        count = self._open_streams()
        if not count and not self._told:
            return
        try:
            now = self._redis.time()[0]
            self._redis.hset(STREAMS_KEY, self._id, f"{count}:{now}")
            self._redis.expire(STREAMS_KEY, round(SILENT_SECONDS))
        except redis.RedisError as error:
            log.debug("streams_not_told", reason=str(error))
        self._told = count
        # A stream that stays open makes no request that would lead here again.
        self._writing.schedule()

    def cancel(self) -> None:
        """Write nothing of what is counted, for the database's connections are closed."""
        self._writing.cancel()

    def close(self) -> None:
        """Write what is counted, and count nothing more."""
        self._writing.close()
        self._redis.close()
