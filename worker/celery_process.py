"""One lane's Celery worker: ``python -m worker.celery_process``, started by worker/supervisor.py.

It receives wakes of one kind and passes them to its only child, a fresh process in which
worker/celery_app.py loads TensorFlow. This process never loads it.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from celery.signals import worker_shutting_down
from sqlalchemy import Engine

from shared.broker import make_celery
from shared.database import make_engine
from shared.logs import configure_logging
from shared.process.title import set_title
from shared.settings import Settings, SettingsError, load_settings
from shared.worker_registry import request_drain, unregister
from worker.broken_device import wait_for_device
from worker.celery_app import LANE_KEY, LEAVE_DEVICE, PARENT_KEY
from worker.execution.outages import DATABASE_AWAY, RETRY_SECONDS, driver_message
from worker.lane import Lane
from worker.wake_transport import install as install_wake_transport

#: The supervisor starts the lane again, which then waits until its device may be used.
EXIT_DEVICE_BROKEN = 75

log = structlog.get_logger(__name__)


def main() -> int:
    """Receive wakes until TERM.

    Returns:
        The process's exit code.
    """
    lane = Lane.parse()
    try:
        settings = load_settings()
        broker = settings.broker
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings)
    set_title(lane.title)
    if lane.cores:
        # Before the child starts, so that all of its threads inherit it.
        os.sched_setaffinity(0, lane.cores)
    install_wake_transport()
    app = make_celery(broker)
    app.conf.update(
        {"include": ["worker.celery_app"], LANE_KEY: lane.as_dict(), PARENT_KEY: os.getpid()}
    )
    engine = make_engine(settings.database)
    # Python's handlers run in this thread, which Celery's loop leaves at least once a second.
    signal.signal(LEAVE_DEVICE, lambda *_: os._exit(EXIT_DEVICE_BROKEN))
    if not _wait_for_device(engine, lane, settings):
        return 0
    shutdown = _GracefulShutdown(engine, lane.worker_id, lane.instance_id)
    worker_shutting_down.connect(shutdown)
    worker = app.Worker(
        hostname=f"{lane.name}.{lane.device}@{lane.host}",
        queues=[lane.kind],
        pool_cls="prefork",
        concurrency=1,
        loglevel=settings.log_level.upper(),
        quiet=True,
        # Celery workers need not talk to each other: the database holds all state.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    shutdown.worker = worker
    worker.start()
    shutdown.finish()
    return int(worker.exitcode or 0)


def _wait_for_device(engine: Engine, lane: Lane, settings: Settings) -> bool:
    """Wait until the device may be used. Returns False if the lane was told to stop meanwhile."""
    stopping = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    try:
        wait_for_device(engine, lane, lane.describe(settings), settings, stopping)
    finally:
        signal.signal(signal.SIGTERM, before)
    if stopping.is_set():
        unregister(engine, lane.worker_id, instance_id=lane.instance_id)
    return not stopping.is_set()


class _GracefulShutdown:
    """Drains the worker when Celery begins its warm shutdown.

    Celery itself would wait for the task, which may be a training of many hours. This asks the
    child to return its job to the queue instead.

    Attributes:
        worker: The Celery worker, once it is made; it knows its child.
    """

    def __init__(self, engine: Engine, worker_id: str, instance_id: str | None) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._instance_id = instance_id
        self.worker: Any = None

    def __call__(self, **_: object) -> None:
        # A signal handler must not wait for the database.
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def finish(self) -> None:
        """Delete the worker's row, now that its child has ended."""
        try:
            unregister(self._engine, self._worker_id, instance_id=self._instance_id)
        except DATABASE_AWAY as error:
            log.warning("database_away", reason=driver_message(error))

    def _drain(self) -> None:
        log.info("draining", worker=self._worker_id)
        # The signal reaches the child even while the database is away. The row tells the API and
        # the other workers that this one takes no more jobs.
        self._terminate_child()
        while True:
            try:
                request_drain(self._engine, self._worker_id, instance_id=self._instance_id)
            except DATABASE_AWAY as error:
                log.warning(
                    "drain_not_recorded", worker=self._worker_id, reason=driver_message(error)
                )
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _terminate_child(self) -> None:
        pool = getattr(self.worker, "pool", None)
        for pid in pool.info["processes"] if pool is not None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
