"""Wakes: messages that say «there is work of this kind», and nobody has to obey.

The Celery task's id is the id of the job it was sent for, so that people who
watch the broker can follow it. The row in the database is the truth: a wake that
is lost, doubled or late changes when a job runs, never whether.
"""

from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.records import Kind

WAKE_TASK = "quire.wake"
CONNECT_TIMEOUT_SECONDS = 2.0
SPAWN_TIMEOUT_SECONDS = 120.0

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

    def wake(self, kind: Kind, job_id: str) -> bool:
        """Say that there is work of a kind.

        Returns:
            False where the broker could not be reached. The job is queued all the same and
            a supervisor's sweep will wake somebody for it.
        """
        try:
            self._app.send_task(
                WAKE_TASK, task_id=job_id, kwargs={"kind": kind}, queue=kind, retry=False
            )
        except (OperationalError, redis.RedisError, OSError) as error:
            log.warning("wake_not_sent", job=job_id, kind=kind, reason=str(error))
            return False
        return True

    def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            redis.RedisError: There was none.
        """
        self._redis.ping()

    def celery(self) -> Any:
        """The Celery application that wakes are sent through."""
        return self._app
