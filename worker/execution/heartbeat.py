"""The thread that keeps a worker's row and leases fresh, and polls for requests."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from sqlalchemy import Select, select

from shared import worker_registry
from shared.database import reading
from shared.event_publisher import EventPublisher
from shared.queue import Queue
from shared.queue.types import Claim, LeaseDirectives
from shared.tables import Device, Job
from shared.worker_registry import WorkerInfo, WorkerReplaced
from worker.execution.device_guard import DeviceGuard
from worker.execution.lease import Lease
from worker.execution.outages import DATABASE_AWAY
from worker.execution.periodic import PeriodicThread
from worker.execution.run_spans import RunSpans
from worker.execution.watchdog import Watchdog

#: How soon a cancel, a pause or a drain is noticed. A poll is one short read; renewals are rarer.
POLL_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """Renews the worker's row and the leases of the jobs it runs.

    Args:
        queue: The queue; its settings give the interval.
        worker: This worker.
        publisher: Publishes the jobs' events; None publishes none.
        guard: Says whether the device may be used; None if nobody watches it.
        spans: Records claims; None records none.
    """

    def __init__(
        self,
        queue: Queue,
        worker: WorkerInfo,
        publisher: EventPublisher | None = None,
        guard: DeviceGuard | None = None,
        spans: RunSpans | None = None,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._publisher = publisher
        self._guard = guard
        self._spans = spans
        self._leases: dict[str, Lease] = {}
        self._draining = threading.Event()
        self._heartbeat_seconds = queue.settings.heartbeat_seconds
        self._thread = PeriodicThread(
            "heartbeat",
            self._run,
            min(POLL_SECONDS, self._heartbeat_seconds / 2),
            immediately=True,
        )
        self._renewed_at = 0.0
        self._registered = False
        self._watchdog = Watchdog(queue.settings.hung_seconds)

    @property
    def draining(self) -> bool:
        """Whether the worker is asked to stop. This is never taken back."""
        return self._draining.is_set() or (self._guard is not None and self._guard.must_end)

    def drain(self) -> None:
        """Ask the worker to stop. Signal handlers may call this."""
        self._draining.set()

    def start(self) -> None:
        """Register the worker as ready, and start the thread, which ends with the process."""
        # While the database is away, the thread logs it and tries again.
        with suppress(*DATABASE_AWAY):
            self._register()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for it."""
        self._thread.stop()

    @contextmanager
    def tracking(self, claim: Claim, asked_at: float) -> Iterator[Lease]:
        """Renew a claim's lease inside the block.

        Args:
            claim: The claim.
            asked_at: `time.monotonic` of a moment before it was made.
        """
        lease = self.track(claim, asked_at)
        try:
            yield lease
        finally:
            self.untrack(lease)

    def track(self, claim: Claim, asked_at: float) -> Lease:
        """Start renewing a claim's lease; a worker may hold many."""
        lease = Lease(
            claim,
            self._queue.settings.lease_seconds,
            asked_at,
            self._draining,
            self._watchdog.feed,
            self._publisher,
        )
        if earlier := self._leases.get(claim.job_id):
            # This worker lost the job without noticing, and has claimed it again.
            earlier.fence()
            self.untrack(earlier)
        self._watchdog.arm()
        self._leases[claim.job_id] = lease
        if self._spans is not None:
            self._spans.claimed(lease)
        return lease

    def untrack(self, lease: Lease) -> None:
        """Stop renewing a lease."""
        if self._leases.get(lease.claim.job_id) is lease:
            del self._leases[lease.claim.job_id]
            self._watchdog.disarm()

    def _run(self) -> None:
        if self._guard is not None:
            self._look_after_device(self._guard)
        self._poll()
        if time.monotonic() - self._renewed_at >= self._heartbeat_seconds:
            self._renew()

    def _look_after_device(self, guard: DeviceGuard) -> None:
        """Run on no longer on a device that has failed, and end once no job is left here."""
        guard.check()
        if guard.must_end:
            self._draining.set()
            if not self._leases:
                guard.end()

    def _poll(self) -> None:
        """Pass on what is asked of this worker and of its runs."""
        leases = self._leases.copy()
        with reading(self._queue.engine) as connection:
            row = connection.execute(
                select(Device.instance_id, Device.drain_requested_at).where(
                    Device.id == self._worker.id
                )
            ).one_or_none()
            jobs = connection.execute(_requests(list(leases))).all() if leases else []
        if row is None or not self._registered:
            # The database was away at the start, or maintenance has deleted the row since.
            self._register()
            return
        if row.instance_id != self._worker.instance_id:
            self._on_replaced(WorkerReplaced(self._worker.id))
        elif row.drain_requested_at is not None:
            self._draining.set()
        for job in jobs:
            # Deadlines are checked here too: one may pass before the next renewal.
            lease, deadline = leases[job.id], job.deadline_seconds
            directives = LeaseDirectives(
                cancel=job.cancel_requested_at is not None,
                pause=job.pause_requested_at is not None,
                overdue=deadline is not None and job.ran_seconds + lease.held_seconds > deadline,
            )
            lease.apply(directives)

    def _register(self) -> None:
        try:
            worker_registry.register(self._queue.engine, self._worker, ready=True)
        except WorkerReplaced as error:
            self._on_replaced(error)
        self._registered = True

    def _on_replaced(self, error: WorkerReplaced) -> None:
        """Claim no more: the row, in which the API and others would see it, is another's.

        The jobs that run here are still this worker's, and go back to the queue.
        """
        if not self._draining.is_set():
            log.error("worker_replaced", worker=self._worker.id, reason=str(error))
        self._draining.set()

    def _renew(self) -> None:
        asked_at = time.monotonic()
        leases = self._leases.copy()
        if not leases:
            worker_registry.heartbeat(
                self._queue.engine, self._worker.id, instance_id=self._worker.instance_id
            )
        else:
            directives = self._queue.heartbeats(
                [lease.claim for lease in leases.values()], self._worker.instance_id
            )
            for job_id, lease in leases.items():
                if job_id in directives:
                    lease.apply(directives[job_id])
                    lease.mark_renewed(asked_at)
                else:
                    # This also hits a run that has just finished, where it does no harm.
                    lease.fence()
        self._renewed_at = asked_at


def _requests(job_ids: list[str]) -> Select[*tuple[Any, ...]]:
    """What the owners of the jobs that run here ask for."""
    return select(
        Job.id,
        Job.cancel_requested_at,
        Job.pause_requested_at,
        Job.ran_seconds,
        Job.deadline_seconds,
    ).where(Job.id.in_(job_ids), Job.status == "running")
