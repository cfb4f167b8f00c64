"""What every supervisor does now and then, and any number may do at once: tidy the tables."""

import threading
import time
from datetime import timedelta

import structlog
from sqlalchemy import delete, func, select

from shared import blobs
from shared.broker import Broker
from shared.clock import database_now
from shared.database import reading
from shared.job_events import EventPublisher
from shared.queue import Queue
from shared.queue.types import Kind
from shared.tables import Device, IdempotencyKey
from worker.execution.lease import DATABASE_AWAY, reason

#: A job that waits longer, beside a worker that is idle, has lost its wake.
WAIT_SECONDS = 3.0
TIDY_SECONDS = 600.0
#: How long a worker that is not heard of stays in the list, and a POST can be repeated.
KEPT_SECONDS = 24 * 3600.0

log = structlog.get_logger(__name__)


class Sweeper:
    """Rescues jobs of lost workers, wakes for forgotten ones, and sweeps out what is old.

    It works in a thread of its own: the database and Redis may be slow or away, and the
    supervisor of the workers must stay quick.
    """

    def __init__(self, queue: Queue, broker: Broker, speaker: EventPublisher) -> None:
        self._queue = queue
        self._broker = broker
        self._speaker = speaker
        self._tidied_at: float | None = None
        self._away = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further sweep; one that runs is not waited for."""
        self._stopped.set()

    def sweep(self) -> None:
        """Sweep once."""
        for rescue in self._queue.rescue():
            self._speaker.publish(rescue.job_id, rescue.attempt, "state")
            log.warning(
                "job_rescued",
                job=rescue.job_id,
                kind=rescue.kind,
                attempt=rescue.attempt,
                outcome=rescue.outcome,
            )
        for waiting in self._queue.waiting(WAIT_SECONDS):
            # A wake for each idle worker, since more than one job may wait. Busy ones look
            # for more work by themselves: for them messages would only pile up.
            for _ in range(self._idle(waiting.kind)):
                self._broker.wake(waiting.kind, waiting.job_id)
        if self._tidied_at is None or time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidy()
            self._tidied_at = time.monotonic()

    def _run(self) -> None:
        while not self._stopped.wait(self._queue.settings.sweep_seconds):
            try:
                self.sweep()
                self._away = False
            except DATABASE_AWAY as error:
                if not self._away:
                    log.warning("database_away", reason=reason(error))
                self._away = True
            except Exception:
                # A sweep that fails must not be the last one.
                log.exception("sweep_failed")

    def _idle(self, kind: Kind) -> int:
        with reading(self._queue.engine) as connection:
            fresh = database_now(connection) - timedelta(seconds=self._queue.settings.lease_seconds)
            return (
                connection.scalar(
                    select(func.count())
                    .select_from(Device)
                    .where(
                        Device.lane == kind,
                        Device.ready_at.is_not(None),
                        Device.current_job_id.is_(None),
                        Device.heartbeat_at > fresh,
                    )
                )
                or 0
            )

    def _tidy(self) -> None:
        with self._queue.engine.begin() as connection:
            old = database_now(connection) - timedelta(seconds=KEPT_SECONDS)
            connection.execute(delete(Device).where(Device.heartbeat_at < old))
            connection.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < old))
        if retired := self._queue.retire_checkpoints():
            log.info("checkpoints_retired", count=retired)
        gone = blobs.sweep(self._queue.engine)
        if gone:
            log.info("blobs_swept", count=gone)
