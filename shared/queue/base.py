"""What all writes of the queue share: the fence, the end of a run, and what follows from it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, case

from shared.clock import Clock, database_now
from shared.counters import ENDED, RAN, TOKENS, WAITED, Tally
from shared.queue import sql
from shared.queue.errors import LeaseLost
from shared.queue.history import Event, add_event, add_events
from shared.queue.types import Claim, StatusAfterRun, problem
from shared.scheduling.accounting import Ledger
from shared.settings import Settings
from shared.tables import TERMINAL_STATUSES, Job

OVERDUE_AT_ONCE = 100


class QueueBase:
    """The queue on one database.

    Args:
        engine: From `shared.database.make_engine`.
        settings: Lease, caps and quantum.
        clock: Tells the time; the database's own clock by default.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock = database_now) -> None:
        self.engine = engine
        self.settings = settings
        self.clock = clock
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._half_life = settings.half_life_seconds

    def _fence(self, connection: Connection, claim: Claim, **values: object) -> None:
        """Write columns of a job that this claim still holds.

        Raises:
            LeaseLost: The claim no longer holds the job; nothing was written.
        """
        # At least one column is written, so that the row stays locked until the commit: nobody
        # can take the lease between this check and the writes that follow it.
        computed = {name: v for name, v in values.items() if isinstance(v, ColumnElement)}
        plain = {name: v for name, v in values.items() if name not in computed}
        held = {"held_job": claim.job_id, "held_attempt": claim.attempt}
        statement = sql.FENCED.values(**computed) if computed else sql.FENCED
        written = connection.execute(statement, held | plain)
        if written.rowcount == 0:
            raise LeaseLost(claim)

    def _end(
        self,
        connection: Connection,
        claim: Claim,
        now: datetime,
        status: StatusAfterRun,
        ledger: Ledger,
        *,
        seconds: float | None = None,
        event_data: Mapping[str, object] | None = None,
        **values: object,
    ) -> StatusAfterRun:
        """Take a job from its worker and settle its device time.

        Args:
            connection: The transaction that also writes the run's results.
            claim: The job and the attempt that holds it.
            now: The time.
            status: The new status. ``queued`` becomes ``paused`` or ``cancelled`` if the owner
                has asked for that meanwhile.
            ledger: Receives the settlement.
            seconds: How long it ran; by default the time since the claim.
            event_data: Further data of the event.
            values: Further columns.

        Returns:
            The status that was written.

        Raises:
            LeaseLost: The claim no longer holds the job; nothing was written.
        """
        held_by = {"held_job": claim.job_id, "held_attempt": claim.attempt}
        if status == "queued":
            row = connection.execute(sql.LOCK_REQUESTS, held_by).one_or_none()
            if row is None:
                raise LeaseLost(claim)
            if row.cancel_requested_at is not None:
                status = "cancelled"
            elif row.pause_requested_at is not None:
                status = "paused"
        held = max(0.0, (now - claim.claimed_at).total_seconds())
        statement = sql.END_COUNTED.values(**values) if values else sql.END_COUNTED
        ended = {
            "new_status": status,
            "ended_at": now if status in TERMINAL_STATUSES else None,
            "held_seconds": held,
        }
        row = connection.execute(statement, held_by | ended).one_or_none()
        if row is None:
            raise LeaseLost(claim)
        if status in TERMINAL_STATUSES:
            count_end(ledger.tally, claim, row, row.ran_seconds, status, values.get("error"))
        used = claim.device_seconds(held, seconds)
        ledger.settle(claim.user_id, claim.charged_seconds, used, claim.claimed_at, now)
        sql.CLEAR_CURRENT_JOB.run(connection, {"worker": claim.worker_id, "ended": [claim.job_id]})
        data = {"seconds": round(held, 3), **(event_data or {})}
        add_event(connection, claim.job_id, claim.attempt, now, status, **data)
        if status in ("failed", "cancelled"):
            self._fail_dependents(connection, {claim.job_id: status}, now, ledger.tally)
        return status

    def _unblock(self, connection: Connection, succeeded: Sequence[str], now: datetime) -> None:
        """Unblock the jobs that waited for these to succeed."""
        rows = sql.UNBLOCK.all(connection, {"ended": list(succeeded)})
        add_events(
            connection,
            [Event(row.id, row.attempt, "unblocked", {"after": row.after_job_id}) for row in rows],
            now,
        )

    def _fail_dependents(
        self, connection: Connection, ended: Mapping[str, str], now: datetime, tally: Tally
    ) -> None:
        """Fail all jobs that depend, directly or not, on jobs that have failed or been cancelled.

        Args:
            connection: The transaction that ends those jobs.
            ended: Their statuses by id.
            now: The time.
            tally: Counts them.
        """
        while ended:
            rows = connection.execute(sql.LOCK_DEPENDENTS, {"ended": list(ended)}).all()
            for row in rows:
                was = "was cancelled" if ended[row.blocked_by] == "cancelled" else "failed"
                detail = (
                    f"It was to run after job {row.blocked_by}, which {was}. "
                    "Run that job again, then run this one after it."
                )
                error = problem("after-failed", "The job it depends on did not succeed", detail)
                self._fail_waiting(connection, row.id, row.attempt, error, now)
                tally.add(ENDED, row.kind, "failed", slug_of(error))
            ended = {row.id: "failed" for row in rows}

    def _fail_overdue(self, connection: Connection, now: datetime, tally: Tally) -> int:
        """Fail the jobs that had to start by now and have not.

        Returns:
            How many failed; jobs that another transaction has locked are left alone.
        """
        values = {"now": now, "limit": OVERDUE_AT_ONCE}
        rows = connection.execute(sql.LOCK_OVERDUE, values).all()
        for row in rows:
            detail = (
                f"It had to start before {row.start_before:%Y-%m-%d %H:%M:%S} UTC "
                "(`start_before`), and its turn did not come by then. "
                "Run it again with a later `start_before`, or without one."
            )
            error = problem("not-started-in-time", "The job could not start in time", detail)
            self._fail_waiting(connection, row.id, row.attempt, error, now)
            tally.add(ENDED, row.kind, "failed", slug_of(error))
        self._fail_dependents(connection, {row.id: "failed" for row in rows}, now, tally)
        return len(rows)

    def _fail_waiting(
        self,
        connection: Connection,
        job_id: str,
        attempt: int,
        error: dict[str, Any],
        now: datetime,
    ) -> None:
        connection.execute(sql.FAIL_WAITING, {"job": job_id, "problem": error, "now": now})
        add_event(connection, job_id, attempt, now, "failed")


def count_end(
    tally: Tally,
    claim: Claim,
    row: Any,
    ran_seconds: float,
    status: str,
    error: object = None,
) -> None:
    """Count the end of a job that ran.

    Args:
        tally: Counts it.
        claim: The job.
        row: Its `created_at`, `started_at` and `progress`.
        ran_seconds: Over all attempts, with this one.
        status: How it ended.
        error: Why it failed.
    """
    tally.add(ENDED, claim.kind, status, slug_of(error))
    if row.started_at is not None:
        waited = (row.started_at - row.created_at).total_seconds()
        tally.observe(WAITED, claim.kind, value=max(0.0, waited))
    tally.observe(RAN, claim.kind, value=ran_seconds)
    if claim.kind == "train" and row.progress:
        spec = claim.spec
        windows = row.progress.get("step", 0) * spec.get("batch_size", 0)
        tally.add(TOKENS, claim.kind, amount=windows * spec.get("window", 0))


def slug_of(error: object) -> str:
    """The short name of a problem, such as ``worker-lost``; empty for none."""
    return str(error.get("type", "")).rpartition("/")[2] if isinstance(error, Mapping) else ""


def without_this_attempt() -> ColumnElement[int]:
    """`fruitless_attempts` without the current attempt, which something outside the job ended."""
    return case((Job.fruitless_attempts > 0, Job.fruitless_attempts - 1), else_=0)
