"""What every write of the queue is made of: the fence, the end, and what follows from an end."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, case, text

from shared.clock import Clock, database_now
from shared.queue import retention, sql
from shared.queue.errors import LeaseLost
from shared.queue.history import add_event
from shared.queue.types import Claim, problem
from shared.scheduling.accounting import Ledger
from shared.settings import Settings
from shared.tables import TERMINAL_STATUSES, Job, Kind

#: PostgreSQL advisory locks: one number per kind, and a prefix so that nobody else takes them.
CLAIM_LOCKS: dict[Kind, int] = {"train": 0x5155_0001, "generate": 0x5155_0002}
OVERDUE_AT_ONCE = 100

Ending = Literal["queued", "paused", "succeeded", "failed", "cancelled"]


class Base:
    """The queue on one database.

    Args:
        engine: From `shared.database.make_engine`.
        settings: Lease, caps, quantum.
        clock: What time it is; the database's own unless a test says otherwise.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock = database_now) -> None:
        self.engine = engine
        self.settings = settings
        self.clock = clock
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._half_life = settings.half_life_seconds

    def _serialise(self, connection: Connection, kind: Kind) -> None:
        # One claim of a kind at a time, or two count a user's running jobs at once and
        # both pass the cap. On SQLite BEGIN IMMEDIATE has done it already.
        if connection.dialect.name == "postgresql":
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": CLAIM_LOCKS[kind]}
            )

    def _retire(self, connection: Connection, job_id: str, keep: int) -> int:
        candidates = retention.superfluous(connection, job_id, keep)
        if not candidates:
            return 0
        self._serialise(connection, "generate")
        return retention.retire(connection, job_id, candidates)

    def _fence(self, connection: Connection, claim: Claim, **values: object) -> None:
        # At least one column is written, so that the row is locked until the commit:
        # nobody can take the lease between this check and what is written under it.
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
        status: Ending,
        ledger: Ledger,
        *,
        seconds: float | None = None,
        about: Mapping[str, object] | None = None,
        **values: object,
    ) -> Ending:
        """Take a job from its worker, and settle.

        Args:
            connection: In the transaction of all that the end writes.
            claim: The job, and the attempt that holds it.
            now: The time.
            status: What becomes of it; ``queued`` is ``paused`` or ``cancelled`` where its owner
                asked for that meanwhile.
            ledger: Where it is settled.
            seconds: Device-seconds that it used; the time since its claim if not given.
            about: More that the event says.
            values: More columns.

        Returns:
            What became of it.

        Raises:
            LeaseLost: Nothing was written.
        """
        held_by = {"held_job": claim.job_id, "held_attempt": claim.attempt}
        if status == "queued":
            row = connection.execute(sql.ASKED_OF, held_by).one_or_none()
            if row is None:
                raise LeaseLost(claim)
            if row.cancel_requested_at is not None:
                status = "cancelled"
            elif row.pause_requested_at is not None:
                status = "paused"
        held = max(0.0, (now - claim.claimed_at).total_seconds())
        used = held if seconds is None else min(seconds, held)
        statement = sql.ENDED.values(**values) if values else sql.ENDED
        ended = {
            "becomes": status,
            "ended_at": now if status in TERMINAL_STATUSES else None,
            "held_seconds": held,
        }
        if connection.execute(statement, held_by | ended).rowcount == 0:
            raise LeaseLost(claim)
        ledger.settle(claim.user_id, claim.charged_seconds, used, claim.claimed_at, now)
        connection.execute(sql.LEAVE, {"worker": claim.worker_id, "held_job": claim.job_id})
        data = {"seconds": round(held, 3), **(about or {})}
        add_event(connection, claim.job_id, claim.attempt, now, status, **data)
        if status in ("failed", "cancelled"):
            self._fail_followers(connection, {claim.job_id: status}, now)
        return status

    def _unblock(self, connection: Connection, ended: Sequence[str], now: datetime) -> None:
        """Let the jobs go on that waited for some that have succeeded."""
        for row in connection.execute(sql.UNBLOCK, {"ended": list(ended)}).all():
            add_event(connection, row.id, row.attempt, now, "unblocked", after=row.after_job_id)

    def _fail_followers(
        self, connection: Connection, ended: Mapping[str, str], now: datetime
    ) -> None:
        """Fail all that wait for jobs that have failed or been cancelled, and what waits for these.

        Args:
            connection: In the transaction that ends those jobs.
            ended: Their statuses by id.
            now: The time.
        """
        while ended:
            rows = connection.execute(sql.FOLLOWERS, {"ended": list(ended)}).all()
            for row in rows:
                was = "was cancelled" if ended[row.blocked_by] == "cancelled" else "failed"
                detail = (
                    f"It was to come after job {row.blocked_by}, which {was}. "
                    "Run that again, and then this one after it."
                )
                error = problem("after-failed", "What it waited for did not succeed", detail)
                self._fail_waiting(connection, row.id, row.attempt, error, now)
            ended = {row.id: "failed" for row in rows}

    def _fail_overdue(self, connection: Connection, now: datetime) -> int:
        """Fail the jobs that had to start by now and have not.

        Returns:
            How many; none that another transaction has locked.
        """
        values = {"now": now, "limit": OVERDUE_AT_ONCE}
        rows = connection.execute(sql.OVERDUE, values).all()
        for row in rows:
            detail = (
                f"It had to start before {row.start_before:%Y-%m-%d %H:%M:%S} UTC "
                "(`start_before`), and its turn had not come by then. "
                "Run it again with a later time, or without one."
            )
            error = problem("not-started-in-time", "It could not start in time", detail)
            self._fail_waiting(connection, row.id, row.attempt, error, now)
        self._fail_followers(connection, {row.id: "failed" for row in rows}, now)
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


def not_fruitless() -> ColumnElement[int]:
    """The count of fruitless attempts after one that was ended from outside: not one more."""
    return case((Job.fruitless_attempts > 0, Job.fruitless_attempts - 1), else_=0)
