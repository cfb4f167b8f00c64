"""Wakes: messages that say «there is work of this kind» and carry no work themselves.

The id of the Celery task is the id of the job that it was sent for, so that jobs can be
traced in the broker. The row in the database is the truth: a wake that is lost, doubled
or late changes when a job runs, never whether.
"""

import socket
import time
from collections import deque
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.tables import Kind

WAKE_TASK = "quire.wake"
CONNECT_TIMEOUT_SECONDS = 2.0
SPAWN_TIMEOUT_SECONDS = 120.0
#: Wakes of a kind in Redis beyond which no more are sent: a worker that takes one runs jobs until
#: none is left, so each wake covers all jobs that were committed before it. The number exceeds
#: that of devices, each of which may need a wake of its own.
MAX_WAITING_WAKES = 32
#: Redis is asked for the number of wakes only if that many were sent within this time.
RECENT_SECONDS = 10.0
#: A worker waits for wakes on a connection that may be cut silently: the kernel reports that after
#: half a minute. Its default is two hours.
KEEPALIVE = {
    socket.TCP_KEEPIDLE: 15,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 30_000,
}

log = structlog.get_logger(__name__)


def celery_url(url: str) -> str:
    """Convert a Redis address to Celery's form: a Unix socket is ``redis+socket://:PW@/path``."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{_login(parts.password)}{parts.path}?virtual_host={number}"


def redis_url(url: str) -> str:
    """Convert a Redis address to redis-py's form: a Unix socket is ``unix://:PW@/path``."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    number = parse_qs(parts.query).get("virtual_host", ["0"])[0]
    return f"unix://{_login(parts.password)}{parts.path}?db={number}"


def _login(password: str | None) -> str:
    return f":{quote(unquote(password), safe='')}@" if password else ""


def make_celery(url: str) -> Celery:
    """Create the Celery application, alike for senders and receivers of wakes."""
    app = Celery("quire", broker=celery_url(url), set_as_current=False)
    app.conf.update(
        # Leases take care of redelivery, so a message is acknowledged as soon as it is taken: no
        # visibility time-out can run an hour-long job twice.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_routes={WAKE_TASK: {"queue": "train"}},
        task_create_missing_queues=True,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "socket_keepalive_options": KEEPALIVE,
        },
        # TensorFlow must not be forked after it has loaded.
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=SPAWN_TIMEOUT_SECONDS,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        enable_utc=True,
    )
    return app


class Broker:
    """Sends wakes.

    Args:
        url: A Redis address in either spelling.
    """

    def __init__(self, url: str) -> None:
        self._app = make_celery(url)
        # Kombu would retry for six seconds, and wait for ever for a frozen server. A wake may fail,
        # but its sender must not wait long.
        self._app.conf.broker_transport_options |= {
            "socket_timeout": CONNECT_TIMEOUT_SECONDS,
            "max_retries": 1,
            "interval_start": 0,
        }
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=CONNECT_TIMEOUT_SECONDS,
        )
        self._sent_at: dict[Kind, deque[float]] = {}

    def wake(self, kind: Kind, job_id: str) -> bool:
        """Send a wake, unless enough wakes of the kind are waiting.

        Call it after the commit of the job.

        Returns:
            False if the broker could not be reached. The job stays queued, and a supervisor's
            sweep sends its wake later.
        """
        try:
            if self._has_enough_wakes(kind):
                return True
            self._app.send_task(
                WAKE_TASK, task_id=job_id, kwargs={"kind": kind}, queue=kind, retry=False
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning("wake_not_sent", job=job_id, kind=kind, reason=str(error))
            return False
        except ValueError as error:
            # Kombu's table of queues in Redis holds an entry that is none.
            log.warning("wake_not_sent", job=job_id, kind=kind, reason=str(error))
            self._redis.delete(f"_kombu.binding.{kind}")
            return False
        return True

    def _has_enough_wakes(self, kind: Kind) -> bool:
        sent_at = self._sent_at.setdefault(kind, deque(maxlen=MAX_WAITING_WAKES))
        now = time.monotonic()
        if len(sent_at) == MAX_WAITING_WAKES and now - sent_at[0] < RECENT_SECONDS:
            waiting: Any = self._redis.llen(kind)
            if waiting >= MAX_WAITING_WAKES:
                return True
        sent_at.append(now)
        return False

    def ping(self) -> None:
        """Check that the server responds.

        Raises:
            redis.RedisError: It does not.
        """
        self._redis.ping()

    def celery(self) -> Any:
        """Return the Celery application that sends the wakes."""
        return self._app
