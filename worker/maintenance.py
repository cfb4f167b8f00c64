"""What every supervisor does now and then, and any number may do at once: tidy the tables."""

import threading
import time

import structlog

from shared.broker import Broker
from shared.clock import database_now
from shared.job_events import Speaker
from shared.queue import Queue
from shared.queue.maintenance.blob_sweep import sweep_blobs
from shared.queue.maintenance.gone_workers import remove_gone_workers
from shared.queue.maintenance.idempotency_keys import forget_expired_keys
from worker.execution.lease import DATABASE_AWAY, reason

#: A job that waits longer, beside a worker that is idle, has lost its wake.
WAIT_SECONDS = 3.0
TIDY_SECONDS = 600.0

log = structlog.get_logger(__name__)


class Sweeper:
    """Rescues jobs of lost workers, wakes for forgotten ones, and sweeps out what is old.

    It works in a thread of its own: the database and Redis may be slow or away, and the
    supervisor of the workers must stay quick.
    """

    def __init__(self, queue: Queue, broker: Broker, speaker: Speaker) -> None:
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
            self._speaker.say(rescue.job_id, rescue.attempt, "state")
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
            for _ in range(waiting.idle_workers):
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

    def _tidy(self) -> None:
        with self._queue.engine.begin() as connection:
            now = database_now(connection)
            remove_gone_workers(connection, now)
            forget_expired_keys(connection, now)
        if retired := self._queue.retire_checkpoints():
            log.info("checkpoints_retired", count=retired)
        gone = sweep_blobs(self._queue.engine)
        if gone:
            log.info("blobs_swept", count=gone)
