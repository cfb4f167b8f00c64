"""Rescue jobs whose lease has expired, and fail those that could not start in time."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from shared.counters import RESCUED
from shared.queue import sql
from shared.queue.base import QueueBase, without_this_attempt
from shared.queue.types import Claim, RescuedJob, StatusAfterRun, problem
from shared.scheduling.accounting import Ledger
from shared.tables import Job

RESCUED_AT_ONCE = 100


class LeaseRescue(QueueBase):
    """Rescue of jobs whose workers died or froze."""

    def rescue(self) -> list[RescuedJob]:
        """Take jobs from workers whose lease has expired; fail those past `start_before`."""
        rescued: list[RescuedJob] = []
        with self.engine.begin() as connection:
            now = self.clock(connection)
            # Counted before any row is locked, so that of two rescues at once neither misses a
            # batch mate that the other takes. A worker that sends heartbeats has more than half
            # of each lease left.
            stale = {"since": now + self._lease / 2}
            in_batch = dict(connection.execute(sql.STALE_GENERATIONS_BY_WORKER, stale).all())
            rows = connection.execute(
                select(Job)
                .where(Job.status == "running", Job.lease_expires_at < now)
                .order_by(Job.id)
                .limit(RESCUED_AT_ONCE)
                .with_for_update(skip_locked=True)
            ).all()
            ledger = Ledger()
            lost_batches: set[str] = set()
            for row in rows:
                more: dict[str, Any] = {}
                if row.kind == "generate" and in_batch.get(row.worker_id, 0) > 1 and not row.alone:
                    # Any job of the batch may have killed the worker: each runs alone before one
                    # is blamed.
                    status: StatusAfterRun = "queued"
                    error = None
                    more = {"alone": True, "fruitless_attempts": without_this_attempt()}
                    lost_batches.add(row.worker_id)
                else:
                    status, error = self._status_after_loss(row)
                # How much each job of a lost batch used is unknown: charge at most what it was
                # charged at the claim.
                seconds = row.charged_seconds if row.kind == "generate" else None
                status = self._end(
                    connection,
                    _claim_of(row),
                    now,
                    status,
                    ledger,
                    seconds=seconds,
                    error=error,
                    **more,
                )
                ledger.tally.add(RESCUED)
                rescued.append(RescuedJob(row.id, row.kind, row.attempt, status))
            if lost_batches:
                self._isolate_mates(connection, stale, lost_batches)
            self._fail_overdue(connection, now, ledger.tally)
            ledger.post(connection, self._half_life, now)
        return rescued

    def release_all(self, reason: str) -> int:
        """Return every running job to the queue, as if its worker had been stopped in order.

        For a database whose workers are known to be gone.

        Args:
            reason: For the jobs' histories.

        Returns:
            How many there were.
        """
        released = 0
        while rows := self._release_some(reason):
            released += rows
        return released

    def _release_some(self, reason: str) -> int:
        with self.engine.begin() as connection:
            now = self.clock(connection)
            running = select(Job).where(Job.status == "running").order_by(Job.id)
            rows = connection.execute(running.limit(RESCUED_AT_ONCE).with_for_update()).all()
            ledger = Ledger()
            for row in rows:
                self._end(
                    connection,
                    _claim_of(row),
                    now,
                    "queued",
                    ledger,
                    seconds=row.charged_seconds if row.kind == "generate" else None,
                    event_data={"reason": reason},
                    fruitless_attempts=without_this_attempt(),
                )
            ledger.post(connection, self._half_life, now)
        return len(rows)

    def _isolate_mates(
        self, connection: Connection, stale: dict[str, datetime], workers: set[str]
    ) -> None:
        """Mark jobs of lost batches whose leases expire a little later: they must run alone."""
        mates = connection.scalars(sql.LOCK_BATCH_MATES, {**stale, "workers": list(workers)}).all()
        connection.execute(
            update(Job)
            .where(Job.id.in_(mates))
            .values(alone=True, fruitless_attempts=without_this_attempt())
        )

    def _status_after_loss(self, row: Any) -> tuple[StatusAfterRun, dict[str, Any] | None]:
        """Return the new status, and the error, of a job whose worker was lost."""
        if row.fruitless_attempts < self.settings.max_attempts or row.cancel_requested_at:
            return "queued", None
        detail = (
            f"{row.fruitless_attempts} attempts ended without progress because the worker died or "
            f"froze, the last one on {row.worker_id}. Run the job again; if it happens again, "
            "ask for less (fewer units, a smaller batch) or look at that worker's log."
        )
        return "failed", problem("worker-lost", "The worker was lost", detail)


def _claim_of(row: Any) -> Claim:
    return Claim(
        job_id=row.id,
        attempt=row.attempt,
        kind=row.kind,
        name=row.name,
        user_id=row.user_id,
        spec=row.spec,
        model_id=row.model_id,
        corpus_id=row.corpus_id,
        worker_id=row.worker_id,
        claimed_at=row.claimed_at,
        charged_seconds=row.charged_seconds,
        device_slots=row.device_slots,
    )
