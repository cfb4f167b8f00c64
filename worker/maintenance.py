"""Periodic maintenance. Every supervisor runs it, and any number may run at once."""

import time

import structlog

from shared.broker import Broker
from shared.clock import database_now
from shared.event_publisher import EventPublisher
from shared.queue import Queue
from shared.queue.maintenance.audit_events import forget_old_enrolments, forget_old_events
from shared.queue.maintenance.blob_sweep import sweep_blobs
from shared.queue.maintenance.deleted import purge_deleted
from shared.queue.maintenance.gone_workers import remove_gone_workers
from shared.queue.maintenance.idempotency_keys import forget_expired_keys
from shared.share_links import forget_expired_shares
from worker.execution.periodic import PeriodicThread

#: A job that waits longer while a worker is idle has lost its wake.
WAIT_SECONDS = 3.0
#: How often old rows and unused bytes are deleted.
CLEANUP_SECONDS = 600.0

log = structlog.get_logger(__name__)


class Maintenance:
    """Rescues jobs of lost workers, resends lost wakes, and deletes what is old.

    It runs in a thread: the database and Redis may be slow or away, and the supervisor must keep
    watching its processes.

    Args:
        queue: The queue; its settings give the interval.
        broker: Sends wakes.
        publisher: Tells the followers of rescued jobs.
    """

    def __init__(self, queue: Queue, broker: Broker, publisher: EventPublisher) -> None:
        self._queue = queue
        self._broker = broker
        self._publisher = publisher
        self._cleaned_at: float | None = None
        self._thread = PeriodicThread("maintenance", self.run_once, queue.settings.sweep_seconds)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Run no further round; the current one is not waited for."""
        self._thread.stop(wait=False)

    def run_once(self) -> None:
        """Run one round."""
        self._rescue()
        self._resend_wakes()
        if self._cleaned_at is None or time.monotonic() - self._cleaned_at > CLEANUP_SECONDS:
            self._clean_up()
            self._cleaned_at = time.monotonic()

    def _rescue(self) -> None:
        for rescue in self._queue.rescue():
            self._publisher.publish(rescue.job_id, rescue.attempt, "state")
            log.warning(
                "job_rescued",
                job=rescue.job_id,
                kind=rescue.kind,
                attempt=rescue.attempt,
                outcome=rescue.outcome,
            )

    def _resend_wakes(self) -> None:
        for waiting in self._queue.waiting(WAIT_SECONDS):
            # More than one job may wait, so every idle worker gets a wake. Busy workers look for
            # more work by themselves: for them wakes would only pile up.
            for _ in range(waiting.idle_workers):
                self._broker.wake(waiting.kind, waiting.job_id)

    def _clean_up(self) -> None:
        with self._queue.engine.begin() as connection:
            now = database_now(connection)
            remove_gone_workers(connection, now)
            forget_expired_keys(connection, now)
            forget_expired_shares(connection, now)
            days = self._queue.settings.audit_days
            forget_old_events(connection, now, days)
            forget_old_enrolments(connection, now, days)
        if retired := self._queue.retire_checkpoints():
            log.info("checkpoints_retired", count=retired)
        if purged := purge_deleted(self._queue.engine, self._queue.settings.deleted_days):
            log.info("deleted_purged", count=purged)
        if swept := sweep_blobs(self._queue.engine):
            log.info("blobs_swept", count=swept)
