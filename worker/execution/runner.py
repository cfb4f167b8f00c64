"""The `train` lane: claim, run, finish, one job at a time."""

import time
from collections.abc import Mapping
from dataclasses import replace

import structlog
from structlog.contextvars import bound_contextvars

from shared.queue import Queue
from shared.tables import Kind
from shared.worker_registry import WorkerInfo
from worker.execution.completion import RunFinisher, log_fields
from worker.execution.handler import Handler
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import Lease
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.execution.outcome import RunOutcome, outcome_of
from worker.execution.wakes.wake_relay import WakeRelay

log = structlog.get_logger(__name__)


class Runner:
    """Runs the jobs of one lane, one at a time.

    Args:
        queue: The queue.
        heartbeat: Renews the leases.
        worker: This worker, which claims the jobs.
        handlers: What runs a job of each kind.
        finisher: Persists how runs ended; by default nobody is told.
        relay: Wakes other workers for the jobs that this one leaves; None wakes nobody.
    """

    def __init__(
        self,
        queue: Queue,
        heartbeat: Heartbeat,
        worker: WorkerInfo,
        handlers: Mapping[Kind, Handler],
        *,
        finisher: RunFinisher | None = None,
        relay: WakeRelay | None = None,
    ) -> None:
        self._queue = queue
        self._finisher = finisher or RunFinisher(queue)
        self._relay = relay
        self._heartbeat = heartbeat
        self._worker = worker
        self._handlers = handlers

    def run_all(self, wake: str) -> int:
        """Run jobs until none is left or the worker is to stop.

        Args:
            wake: The Celery task's id, which is the id of the job whose submission woke this
                worker. It is only logged: the queue decides which job runs.

        Returns:
            How many jobs were run.
        """
        count = 0
        try:
            while not self._heartbeat.draining and self.run_next(wake):
                count += 1
        except DATABASE_AWAY as error:
            # The jobs are still queued; the maintenance loop wakes a worker for them.
            log.warning("claim_failed", wake=wake, reason=driver_message(error))
        if self._relay is not None and self._heartbeat.draining:
            self._relay.leave(wake)
        return count

    def run_next(self, wake: str) -> bool:
        """Claim a job, run it and finish it.

        Returns:
            Whether there was a job.
        """
        asked_at = time.monotonic()
        claims = self._queue.claim(
            self._worker.lane, self._worker.id, limit=1, device_slots=self._worker.slots
        )
        if claims and self._relay is not None:
            self._relay.pass_on(wake)
        for claim in claims:
            with (
                bound_contextvars(**log_fields(claim)),
                self._heartbeat.tracking(claim, asked_at) as lease,
            ):
                log.info("run_started", kind=claim.kind, wake=wake)
                lease.publish_state(begins=True)
                outcome = self._run(lease)
                self._finisher.finish(lease, outcome)
                seconds = round(time.monotonic() - asked_at, 3)
                log.info("run_ended", kind=claim.kind, status=outcome.status, seconds=seconds)
        return bool(claims)

    def _run(self, lease: Lease) -> RunOutcome:
        started_at = time.monotonic()
        outcome = self._run_handler(lease)
        return replace(outcome, seconds=time.monotonic() - started_at)

    def _run_handler(self, lease: Lease) -> RunOutcome:
        kind = lease.claim.kind
        try:
            return RunOutcome("succeeded", texts=self._handlers[kind](lease))
        except Exception as error:
            return outcome_of(error, lease.claim)
