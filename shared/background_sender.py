"""Sends what may be lost to Redis in a background thread, so that callers never wait for it."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker import CONNECT_TIMEOUT_SECONDS, redis_url

Item = TypeVar("Item")

log = structlog.get_logger(__name__)


class BackgroundSender(ABC, Generic[Item]):
    """A bounded queue and the thread that empties it; the oldest items are dropped first.

    Args:
        url: A Redis address in either spelling.
        name: The thread's.
        max_pending: Items that wait while Redis is slow.
        batch_size: The most items that `_send` gets at once.
    """

    #: The log event that says that items were lost since Redis could not be reached.
    lost_event: str

    def __init__(self, url: str, name: str, max_pending: int, batch_size: int) -> None:
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._name = name
        self._batch_size = batch_size
        self._pending: deque[Item] = deque(maxlen=max_pending)
        #: Guards the queue; hold it to append, and then call `_notify`.
        self._not_empty = threading.Condition()
        self._is_asked = False
        #: When the thread is to look at the queue; None while there is nothing to send.
        self._due_at: float | None = None
        self._sending = False
        self._unreachable = False
        self._closed = False
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _send(self, batch: Sequence[Item], asked: bool) -> None:
        """Send a batch, which is empty if the thread was only asked to look.

        Raises:
            redis.RedisError: Redis could not be reached. The batch is lost.
            OSError: The same.
        """

    def _on_unreachable(self) -> None:
        """Redis could not be reached."""

    def flush(self, seconds: float = CONNECT_TIMEOUT_SECONDS) -> bool:
        """Wait up to `seconds` until all items are sent; return whether they are."""
        deadline = time.monotonic() + seconds
        while self._pending or self._sending:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def close(self) -> None:
        """End the thread and its connection; what waits is sent before."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify()
        if self._thread is not None:
            self._thread.join(2 * CONNECT_TIMEOUT_SECONDS)
        self._redis.close()

    def _notify(self, *, ask: bool = False, within: float = 0.0) -> None:
        """Wake the thread, which a first call starts. The caller holds `_not_empty`.

        Args:
            ask: Let it look even if there is nothing to send.
            within: For how many seconds what was queued may wait for more.
        """
        self._is_asked = self._is_asked or ask
        if self._closed:
            self._pending.clear()
            return
        due_at = time.monotonic() + within
        if self._due_at is not None and self._due_at <= due_at:
            return  # The thread knows.
        self._due_at = due_at
        if self._thread is None:
            # Not earlier: a thread does not survive a fork.
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._not_empty.notify()

    def _run(self) -> None:
        while True:
            with self._not_empty:
                while not self._closed:
                    left = None if self._due_at is None else self._due_at - time.monotonic()
                    if left is not None and left <= 0:
                        break
                    self._not_empty.wait(left)
                if not (self._pending or self._is_asked):
                    if self._closed:
                        return
                    self._due_at = None
                    continue
                # Before the items leave the queue, since `flush` looks without the lock.
                self._sending = True
                count = min(len(self._pending), self._batch_size)
                batch = [self._pending.popleft() for _ in range(count)]
                asked, self._is_asked = self._is_asked, False
                if not self._pending:
                    self._due_at = None
            try:
                self._send(batch, asked)
                self._unreachable = False
            except (redis.RedisError, OSError) as error:
                self._on_unreachable()
                if not self._unreachable:
                    log.warning(self.lost_event, reason=str(error))
                self._unreachable = True
            finally:
                self._sending = False
