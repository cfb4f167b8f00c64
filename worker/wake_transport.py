"""What a lane takes from Redis: wakes, and nothing else.

Whatever else lies in its list is dropped with a line in the log. Kombu's own transport would let
the error of a message that it can't decode end the process, and the lane with it.
"""

import base64
import json
import uuid
from queue import Empty
from typing import Any

import redis
import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker import CONNECT_TIMEOUT_SECONDS, MAX_WAITING_WAKES, WAKE_TASK, redis_url
from shared.tables import Kind

MAX_ID_CHARACTERS = 100
#: How much of a dropped message the log shows.
SHOWN_CHARACTERS = 200

log = structlog.get_logger(__name__)


def install() -> None:
    """Use this transport for every Redis address in this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"


def wake_id(message: object) -> str | None:
    """Return the id of a message that is a wake, or None."""
    headers = message.get("headers") if isinstance(message, dict) else None
    if not isinstance(headers, dict) or headers.get("task") != WAKE_TASK:
        return None
    task_id = headers.get("id")
    if not isinstance(task_id, str) or not 0 < len(task_id) <= MAX_ID_CHARACTERS:
        return None
    return task_id if task_id.isascii() and task_id.isprintable() else None


def canonical_wake(message: object, queue: str) -> dict[str, Any] | None:
    """Return the message that Celery runs for a wake, or None if the message is none.

    Only the task's id is taken from what was sent: other headers could delay it, or fail.
    """
    task_id = wake_id(message)
    if task_id is None:
        return None
    body = json.dumps([[], {"kind": queue}, {}]).encode()
    return {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": WAKE_TASK, "id": task_id, "root_id": task_id},
        "properties": {
            "correlation_id": task_id,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
            "priority": 0,
        },
    }


class WakeList:
    """Takes wakes from a lane's list directly, as its parent does through Celery.

    Args:
        url: A Redis address in either spelling.
        kind: The lane's kind.
        longest_wait: The longest wait that `take` is asked for, in seconds.
    """

    def __init__(self, url: str, kind: Kind, longest_wait: float) -> None:
        self._kind = kind
        self._has_blmpop = True
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # A frozen server must not hold the child for ever.
            socket_timeout=longest_wait + CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def take(self, seconds: float) -> str | None:
        """Wait for a wake, and take it with those that lie there. What is no wake is dropped.

        Their jobs are committed, so one look at the queue afterwards answers all of them. Taken one
        by one, those of a crowd would each be followed by a look for nothing.

        Returns:
            The id of the oldest wake; None if none came within `seconds`.

        Raises:
            redis.RedisError: The server could not be reached, or the key holds no list.
        """
        # With a time-out of 0 Redis would wait for ever.
        messages = self._pop(max(seconds, 0.01))
        wakes = [wake for wake in map(self._id_of, messages) if wake is not None]
        return wakes[0] if wakes else None

    def _pop(self, seconds: float) -> list[bytes]:
        popped: Any
        if not self._has_blmpop:
            popped = self._redis.brpop([self._kind], timeout=seconds)
            return [] if popped is None else [popped[1]]
        try:
            popped = self._redis.blmpop(
                seconds, 1, self._kind, direction="RIGHT", count=MAX_WAITING_WAKES
            )
        except redis.ResponseError as error:
            if "unknown command" not in str(error):
                raise
            # Redis before 7.0.
            self._has_blmpop = False
            return self._pop(seconds)
        return [] if popped is None else list(popped[1])

    def _id_of(self, message: bytes) -> str | None:
        try:
            found = wake_id(json.loads(message))
        except (ValueError, RecursionError):
            found = None
        if found is None:
            _log_dropped(message, self._kind)
        return found


class QoS(kombu_redis.QoS):
    """Never reads the messages that lanes took and did not acknowledge."""

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Do nothing: the sweep wakes for jobs whose wake was lost."""


class Channel(kombu_redis.Channel):
    """Reads the lane's list."""

    QoS = QoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (Empty, redis.ConnectionError, redis.TimeoutError, OSError):
            raise
        except redis.ResponseError as error:
            self._delete_keys_that_are_no_lists(str(error))
        except Exception as error:
            # The message has left the list already.
            log.warning("message_dropped", reason=f"{type(error).__name__}: {error}"[:500])
        raise Empty

    def _delete_keys_that_are_no_lists(self, reason: str) -> None:
        names = [(name, step) for name in self.active_queues for step in self.priority_steps]
        keys = [self._q_for_pri(*name) for name in names]  # type: ignore[no-untyped-call]
        with self.conn_or_acquire() as client:
            wrong = [key for key in keys if client.type(key) not in (b"list", b"none")]
            if not wrong:
                raise redis.ConnectionError(reason)
            client.delete(*wrong)
        log.warning("message_dropped", reason=reason, keys=wrong)


class Transport(kombu_redis.Transport):
    """Passes wakes on."""

    Channel = Channel

    def _deliver(self, message: object, queue: str) -> None:
        wake = canonical_wake(message, queue)
        if wake is None:
            _log_dropped(message, queue)
            return
        super()._deliver(wake, queue)  # type: ignore[no-untyped-call]


def _log_dropped(message: object, queue: str) -> None:
    shown = repr(message)[:SHOWN_CHARACTERS]
    log.warning("message_dropped", reason="it is no wake", queue=queue, message=shown)
