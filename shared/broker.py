"""Wakes: messages that say «there is work of this kind», and nobody has to obey.

The Celery task's id is the id of the job it was sent for, so that people who
watch the broker can follow it. The row in the database is the truth: a wake that
is lost, doubled or late changes when a job runs, never whether.
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
#: While so many wakes of a kind lie in Redis no more are sent: a worker that takes one runs jobs
#: until none is left, so that any of them leads to all that was committed before. It is more
#: than there are devices, each of which may have to be woken by a wake of its own.
ENOUGH_WAKES = 32
#: Redis is asked how many lie there only where so many were sent within this time.
RECENT_SECONDS = 10.0
#: A worker waits for wakes on a connection that may be cut without a word: after half a minute
#: the kernel says so. By default it takes two hours.
KEEPALIVE = {
    socket.TCP_KEEPIDLE: 15,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 30_000,
}

log = structlog.get_logger(__name__)


def celery_url(url: str) -> str:
    """A Redis address as Celery wants it: a Unix socket is ``redis+socket://:PW@/path``."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    number = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{_login(parts.password)}{parts.path}?virtual_host={number}"


def redis_url(url: str) -> str:
    """A Redis address as redis-py wants it: a Unix socket is ``unix://:PW@/path``."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    number = parse_qs(parts.query).get("virtual_host", ["0"])[0]
    return f"unix://{_login(parts.password)}{parts.path}?db={number}"


def _login(password: str | None) -> str:
    return f":{quote(unquote(password), safe='')}@" if password else ""


def make_celery(url: str) -> Celery:
    """The Celery application, the same for those who send wakes and those who get them."""
    app = Celery("quire", broker=celery_url(url), set_as_current=False)
    app.conf.update(
        # The lease redelivers, so a message is done with as soon as it is taken: no
        # visibility timeout can run an hour-long job twice.
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
        # Kombu would try for six seconds, and wait for ever for a server that is frozen: a
        # wake may fail, and whoever sends one must not wait long to learn it.
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
        """Say that there is work of a kind, unless that is said often enough already.

        Call it after the commit of what there is to do.

        Returns:
            False where the broker could not be reached. The job is queued all the same and
            a supervisor's sweep will wake somebody for it.
        """
        try:
            if self._is_said(kind):
                return True
            self._app.send_task(
                WAKE_TASK, task_id=job_id, kwargs={"kind": kind}, queue=kind, retry=False
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning("wake_not_sent", job=job_id, kind=kind, reason=str(error))
            return False
        return True

    def _is_said(self, kind: Kind) -> bool:
        sent_at = self._sent_at.setdefault(kind, deque(maxlen=ENOUGH_WAKES))
        now = time.monotonic()
        if len(sent_at) == ENOUGH_WAKES and now - sent_at[0] < RECENT_SECONDS:
            waiting: Any = self._redis.llen(kind)
            if waiting >= ENOUGH_WAKES:
                return True
        sent_at.append(now)
        return False

    def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            redis.RedisError: There was none.
        """
        self._redis.ping()

    def celery(self) -> Any:
        """The Celery application that wakes are sent through."""
        return self._app
