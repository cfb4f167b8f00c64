"""Hears one Redis channel in a thread, and hears it again after Redis was away.

What is published meanwhile is lost, so whoever uses this is told when it begins to hear and when it
stops.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker import CONNECT_TIMEOUT_SECONDS, redis_url

#: A subscription that hears nothing for this long asks Redis for an answer, and gives up a
#: connection that stays silent for as long again.
SILENCE_SECONDS = 1.0
RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


def channel(client: redis.Redis, subject: str) -> str:
    """Name a channel. Channels, unlike keys, are shared by all databases of a Redis server."""
    database = client.connection_pool.connection_kwargs.get("db") or 0
    return f"quire:{subject}:{database}"


class Subscription(ABC):
    """Hears a channel.

    Args:
        url: A Redis address in either spelling.
        subject: What the channel is about; a part of its name.
        thread_name: The thread's.
        when_changed: Called, in the thread, when the channel is heard from now on, or again, or
            not any more: messages may be lost.

    Attributes:
        is_listening: Whether the channel is heard.
    """

    #: The log event that says that the channel is not heard.
    lost_event: str

    def __init__(
        self,
        url: str,
        subject: str,
        thread_name: str,
        when_changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._url = redis_url(url)
        self._subject = subject
        self._thread_name = thread_name
        self._when_changed = when_changed
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._start_lock = threading.Lock()
        self.is_listening = False

    @abstractmethod
    def _receive(self, data: bytes) -> None:
        """Take a message."""

    def start(self) -> None:
        """Begin to hear, in a thread; do nothing if it has begun, or is closed."""
        with self._start_lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._run, name=self._thread_name, daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """End the thread and its connection, at the latest after `SILENCE_SECONDS`."""
        with self._start_lock:
            self._closed.set()
            thread = self._thread
        if thread is not None:
            thread.join(2 * SILENCE_SECONDS)

    def _run(self) -> None:
        is_logged = False
        while not self._closed.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                if self.is_listening or not is_logged:
                    log.warning(self.lost_event, reason=str(error))
                self.is_listening, is_logged = False, True
                self._when_changed()
                self._closed.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        with (
            redis.Redis.from_url(
                self._url,
                socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
                socket_timeout=CONNECT_TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            ) as client,
            client.pubsub() as subscription,
        ):
            subscription.subscribe(channel(client, self._subject))
            asked = False
            while not self._closed.is_set():
                message: dict[str, Any] | None = subscription.get_message(timeout=SILENCE_SECONDS)
                if message is None:
                    if asked:
                        raise redis.TimeoutError("Redis does not answer")
                    subscription.ping()
                asked = message is None
                if message is not None:
                    self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            # Also after the driver has connected again by itself.
            self.is_listening = True
            self._when_changed()
        elif message["type"] == "message":
            self._receive(message["data"])
