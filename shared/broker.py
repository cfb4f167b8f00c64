"""Wakes: messages that say «there is work of this kind» and carry no work themselves.

The id of the Celery task is the id of the job that it was sent for, so that jobs can be
traced in the broker. The row in the database is the truth: a wake that is lost, doubled
or late changes when a job runs, never whether.
"""

import base64
import json
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import redis
import structlog
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.tables import Kind

WAKE_TASK = "quire.wake"
CONNECT_TIMEOUT_SECONDS = 2.0
SPAWN_TIMEOUT_SECONDS = 120.0
#: Wakes of a kind that Redis keeps: a worker that takes one runs jobs until none is left, so each
#: wake covers all jobs that were committed before it. The number exceeds that of devices, each of
#: which may need a wake of its own.
MAX_WAITING_WAKES = 32
#: The pause between two round trips of the thread; what is committed meanwhile shares the next.
WAKE_PAUSE_SECONDS = 0.002
#: What stands for the job's id in the message that Celery makes.
NO_ID = str(uuid.UUID(int=0))
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
        self._url = url
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # A wake may fail, but its sender must not wait long for a frozen server. The second
            # try is for a kept connection that the server has closed since.
            socket_timeout=CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        self._templates: dict[Kind, str] = {}
        #: Of each kind, the jobs whose wakes the thread has yet to send; later ones replace the
        #: first, as in Redis.
        self._requested: dict[Kind, deque[str]] = {}
        self._not_empty = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def wake(self, kind: Kind, job_id: str) -> bool:
        """Send a wake; the oldest of `MAX_WAITING_WAKES` waiting ones gives way to it.

        Call it after the commit of the job.

        Returns:
            False if the broker could not be reached. The job stays queued, and a supervisor's
            sweep sends its wake later.
        """
        return self._send(kind, [job_id])

    def wake_soon(self, kind: Kind, *job_ids: str) -> None:
        """Let a thread send wakes: requests at the same time share a round trip, and none waits.

        Call it after the commit of the jobs.
        """
        with self._not_empty:
            waiting = self._requested.setdefault(kind, deque(maxlen=MAX_WAITING_WAKES))
            waiting.extend(job_ids)
            if self._thread is None and not self._closed:
                # Not earlier: a thread does not survive a fork.
                self._thread = threading.Thread(target=self._run, name="wakes", daemon=True)
                self._thread.start()
            self._not_empty.notify()

    def close(self) -> None:
        """Send what waits, and close the connections. A wake that comes later opens a new one."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify()
        if self._thread is not None:
            self._thread.join(2 * CONNECT_TIMEOUT_SECONDS)
        self._redis.close()

    def _run(self) -> None:
        while True:
            with self._not_empty:
                while not (self._requested or self._closed):
                    self._not_empty.wait()
                if not self._requested:
                    return
                requested, self._requested = self._requested, {}
            for kind, job_ids in requested.items():
                self._send(kind, list(job_ids))
            time.sleep(WAKE_PAUSE_SECONDS)

    def _send(self, kind: Kind, job_ids: Sequence[str]) -> bool:
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.lpush(kind, *(self._message(kind, job_id) for job_id in job_ids))
            pipe.ltrim(kind, 0, MAX_WAITING_WAKES - 1)
            pipe.execute()
        except (redis.RedisError, OSError) as error:
            log.warning("wake_not_sent", job=job_ids[-1], kind=kind, reason=str(error))
            return False
        return True

    def _message(self, kind: Kind, job_id: str) -> str:
        """A wake as Celery sends it. Celery makes one of each kind, and each job's id replaces its.

        Celery's own way to Redis takes longer than a job's whole transaction.
        """
        if kind not in self._templates:
            self._templates[kind] = _make_message(make_celery(self._url), kind, NO_ID)
        return self._templates[kind].replace(NO_ID, job_id)

    def ping(self) -> None:
        """Check that the server responds.

        Raises:
            redis.RedisError: It does not.
        """
        self._redis.ping()


def _make_message(app: Celery, kind: Kind, task_id: str) -> str:
    """A message that Celery's workers read from a list of Redis."""
    amqp: Any = app.amqp  # Celery has no types
    task = amqp.as_task_v2(task_id, WAKE_TASK, kwargs={"kind": kind})
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(task.body).encode()).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": task.headers,
            "properties": {
                **task.properties,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": kind},
                "delivery_tag": task_id,
                "body_encoding": "base64",
                "priority": 0,
            },
        }
    )
