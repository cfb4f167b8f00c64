"""The thread that keeps a worker alive in the database, and hears what is asked of it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from sqlalchemy import Select, select

from shared import worker_registry
from shared.database import reading
from shared.job_events import Speaker
from shared.queue import Queue
from shared.queue.types import Claim, LeaseDirectives
from shared.tables import Device, Job
from shared.worker_registry import WorkerSelf
from worker.execution.lease import DATABASE_AWAY, Lease, reason
from worker.execution.watchdog import Watchdog

#: How soon a cancel, a pause or a drain is heard. A look is one short read; renewals are rarer.
LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """Renews the worker's row and the leases of the jobs it runs.

    Args:
        queue: The queue, whose settings give the rhythm.
        me: The worker as it shows itself.
        speaker: Tells those who follow a job; nobody if not given.
    """

    def __init__(self, queue: Queue, me: WorkerSelf, speaker: Speaker | None = None) -> None:
        self._queue = queue
        self._me = me
        self._speaker = speaker
        self._leases: dict[str, Lease] = {}
        self._draining = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._heartbeat_seconds = queue.settings.heartbeat_seconds
        self._look_seconds = min(LOOK_SECONDS, self._heartbeat_seconds / 2)
        self._beaten_at = 0.0
        self._away = False
        self._shown = False
        self._told_of_pid: int | None = None
        self._watchdog = Watchdog(queue.settings.hung_seconds)

    @property
    def draining(self) -> bool:
        """Whether the worker is asked to stop; once yes, it stays so."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Ask the worker to stop; also from a signal's handler."""
        self._draining.set()

    def start(self) -> None:
        """Show the worker as ready, and begin; the thread ends with the process at the latest."""
        try:
            self._show()
        except DATABASE_AWAY as error:
            log.warning("database_away", reason=reason(error))
            self._away = True
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def holding(self, claim: Claim, asked_at: float) -> Iterator[Lease]:
        """Renew a claim's lease while the block runs.

        Args:
            claim: The claim.
            asked_at: `time.monotonic` of a moment before it was made.
        """
        lease = self.hold(claim, asked_at)
        try:
            yield lease
        finally:
            self.let_go(lease)

    def hold(self, claim: Claim, asked_at: float) -> Lease:
        """Renew a claim's lease from now on; a worker may hold many."""
        seconds, show_life = self._queue.settings.lease_seconds, self._watchdog.show_life
        lease = Lease(claim, seconds, asked_at, self._draining, show_life, self._speaker)
        if earlier := self._leases.get(claim.job_id):
            # Lost unnoticed, and claimed again by this same worker.
            earlier.fence()
            self.let_go(earlier)
        self._watchdog.watch()
        self._leases[claim.job_id] = lease
        return lease

    def let_go(self, lease: Lease) -> None:
        """Renew a lease no more."""
        if self._leases.get(lease.claim.job_id) is lease:
            del self._leases[lease.claim.job_id]
            self._watchdog.rest()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
                if time.monotonic() - self._beaten_at >= self._heartbeat_seconds:
                    self._beat()
                self._away = False
            except DATABASE_AWAY as error:
                if not self._away:
                    log.warning("database_away", reason=reason(error))
                self._away = True
            except Exception:
                # Without its heartbeat a worker would lose every job: go on whatever happened.
                log.exception("pulse_failed")
            self._stopped.wait(self._look_seconds)

    def _look(self) -> None:
        leases = self._leases.copy()
        with reading(self._queue.engine) as connection:
            row = connection.execute(
                select(Device.pid, Device.drain_requested_at).where(Device.id == self._me.id)
            ).one_or_none()
            asked = connection.execute(_asked(list(leases))).all() if leases else []
        if row is None or not self._shown:
            # The database was away at the start, or the row was swept away since.
            self._show()
            return
        if row.pid not in (self._me.pid, self._told_of_pid):
            self._told_of_pid = row.pid
            log.error(
                "two_workers_of_one_name",
                worker=self._me.id,
                pid=self._me.pid,
                other_pid=row.pid,
                way_out="give each host a name of its own: QUIRE_HOST_NAME",
            )
        if row.drain_requested_at is not None:
            self._draining.set()
        for job in asked:
            # Judged here too: a deadline may be shorter than the time to the next heartbeat.
            lease, deadline = leases[job.id], job.deadline_seconds
            orders = LeaseDirectives(
                cancel=job.cancel_requested_at is not None,
                pause=job.pause_requested_at is not None,
                overdue=deadline is not None and job.ran_seconds + lease.held_seconds > deadline,
            )
            lease.obey(orders)

    def _show(self) -> None:
        worker_registry.show(self._queue.engine, self._me, ready=True)
        self._shown = True

    def _beat(self) -> None:
        asked_at = time.monotonic()
        leases = self._leases.copy()
        if not leases:
            worker_registry.beat(self._queue.engine, self._me.id)
        else:
            orders = self._queue.heartbeats([lease.claim for lease in leases.values()])
            for job_id, lease in leases.items():
                if job_id in orders:
                    lease.obey(orders[job_id])
                    lease.renewed(asked_at)
                else:
                    # Also when the run has just ended by itself: then nobody looks at it.
                    lease.fence()
        self._beaten_at = asked_at


def _asked(job_ids: list[str]) -> Select[*tuple[Any, ...]]:
    """What the owners of the jobs that run here want of them."""
    return select(
        Job.id,
        Job.cancel_requested_at,
        Job.pause_requested_at,
        Job.ran_seconds,
        Job.deadline_seconds,
    ).where(Job.id.in_(job_ids), Job.status == "running")
