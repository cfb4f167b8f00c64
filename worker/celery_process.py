"""One Celery worker, which never loads TensorFlow itself: ``python -m worker.celery_process``.

It takes wakes of one kind and hands them to its one child, a fresh process in which
worker/celery_app.py loads TensorFlow. It is started by worker/supervisor.py.
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
from shared.settings import SettingsError, load_settings
from shared.worker_registry import request_drain, unregister
from worker.celery_app import LANE_KEY, PARENT_KEY
from worker.execution.lease import DATABASE_AWAY, RETRY_SECONDS, reason
from worker.lane import Lane

log = structlog.get_logger(__name__)


def main() -> int:
    """Take wakes until TERM.

    Returns:
        The process's exit code.
    """
    lane = Lane.read()
    try:
        settings = load_settings()
        broker = settings.broker
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings)
    set_title(lane.title)
    if lane.cores:
        # Now, so that the child inherits it before it starts a thread.
        os.sched_setaffinity(0, lane.cores)
    app = make_celery(broker)
    app.conf.update(
        {"include": ["worker.celery_app"], LANE_KEY: lane.as_dict(), PARENT_KEY: os.getpid()}
    )
    engine = make_engine(settings.database)
    drain = _Drain(engine, lane.worker_id)
    worker_shutting_down.connect(drain)
    worker = app.Worker(
        hostname=f"{lane.kind}.{lane.device}@{lane.host}",
        queues=[lane.kind],
        pool_cls="prefork",
        concurrency=1,
        loglevel=settings.log_level.upper(),
        quiet=True,
        # What Celery's workers tell each other is of no use here: the database knows it all.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    drain.worker = worker
    worker.start()
    drain.done()
    return int(worker.exitcode or 0)


class _Drain:
    """The orderly end of a worker.

    Asks this worker's child to give its job back, once Celery begins its warm shutdown.

    Celery's own way is to wait for the task, which may be a training of many hours.

    Attributes:
        worker: Celery's, once it is made; it knows its child.
    """

    def __init__(self, engine: Engine, worker_id: str) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self.worker: Any = None

    def __call__(self, **_: object) -> None:
        # In a thread: this is a signal handler, and the database may be slow.
        threading.Thread(target=self._ask, name="drain", daemon=True).start()

    def done(self) -> None:
        """Take the worker out of the list, now that its child has ended."""
        try:
            unregister(self._engine, self._worker_id)
        except DATABASE_AWAY as error:
            log.warning("database_away", reason=reason(error))

    def _ask(self) -> None:
        log.info("draining", worker=self._worker_id)
        # The child hears this even while the database is away. The row tells everybody else, so
        # that nobody counts on this worker.
        self._terminate_child()
        while True:
            try:
                request_drain(self._engine, self._worker_id)
            except DATABASE_AWAY as error:
                log.warning("drain_not_written", worker=self._worker_id, reason=reason(error))
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
