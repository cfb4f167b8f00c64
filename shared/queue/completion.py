"""How a job leaves its worker: it ends, goes back to the line, or is taken away."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text, update

from shared.queue import retention, sql
from shared.queue.base import CLAIM_LOCKS, Base, Ending, not_fruitless
from shared.queue.errors import LeaseLost
from shared.queue.history import add_texts
from shared.queue.types import Claim, Rescue, TextRecord, Waiting, problem
from shared.scheduling.accounting import Ledger
from shared.tables import RUNNABLE, Job

RESCUED_AT_ONCE = 100

Outcome = tuple[Claim, Sequence[TextRecord]]


class Closing(Base):
    """The queue as a worker uses it when it is done, and as the sweep does."""

    def succeed(
        self, claim: Claim, texts: Sequence[TextRecord] = (), *, seconds: float | None = None
    ) -> None:
        """End one job well, with its texts.

        Args:
            claim: The job.
            texts: What it wrote.
            seconds: Device-seconds that it used; the time since its claim if not given.

        Raises:
            LeaseLost: As for `heartbeat`; nothing was written.
        """
        used = {} if seconds is None else {claim.job_id: seconds}
        if self.finish([(claim, texts)], seconds=used):
            raise LeaseLost(claim)

    def finish(
        self, outcomes: Sequence[Outcome], *, seconds: Mapping[str, float] | None = None
    ) -> list[Claim]:
        """End many jobs well in one transaction, each with its texts.

        Args:
            outcomes: The jobs and what they wrote.
            seconds: Device-seconds that each used, by its id: of thirty in one batch each used a
                thirtieth. Of those not named, the time since their claim.

        Returns:
            Claims whose lease was lost: nothing was written for these.
        """
        lost: list[Claim] = []
        used = seconds or {}
        with self.engine.begin() as connection:
            now = self.clock(connection)
            ledger = Ledger()
            ended = []
            # In one order everywhere, so that two batches can't wait for each other.
            for claim, texts in sorted(outcomes, key=lambda outcome: outcome[0].job_id):
                try:
                    self._end(
                        connection, claim, now, "succeeded", ledger, seconds=used.get(claim.job_id)
                    )
                except LeaseLost:
                    lost.append(claim)
                    continue
                add_texts(connection, claim, texts, now)
                ended.append(claim.job_id)
            if ended:
                self._unblock(connection, ended, now)
            ledger.post(connection, self._half_life, now)
        return lost

    def fail(
        self,
        claim: Claim,
        error: dict[str, Any],
        texts: Sequence[TextRecord] = (),
        *,
        seconds: float | None = None,
    ) -> None:
        """End a job badly, with what it wrote.

        Args:
            claim: The job.
            error: From `shared.queue.types.problem`: what its owner reads.
            texts: As far as they are written.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `heartbeat`; nothing was written.
        """
        self._end_one(claim, "failed", seconds, texts, error=error)

    def cancelled(
        self, claim: Claim, texts: Sequence[TextRecord] = (), *, seconds: float | None = None
    ) -> None:
        """End a job because its owner asked for it, with what it wrote.

        Args:
            claim: The job.
            texts: As far as they are written.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `heartbeat`; nothing was written.
        """
        self._end_one(claim, "cancelled", seconds, texts)

    def release(
        self, claim: Claim, reason: str = "drained", *, seconds: float | None = None
    ) -> None:
        """Give a job back unharmed: to the line, or to what its owner asked for meanwhile.

        Args:
            claim: The job.
            reason: What its history says: ``drained``, ``yielded`` or ``paused``.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `heartbeat`.
        """
        # The attempt was not a fruitless one: it was ended from outside.
        about = {"reason": reason}
        self._end_one(claim, "queued", seconds, about=about, fruitless_attempts=not_fruitless())

    def rescue(self) -> list[Rescue]:
        """Take jobs from workers whose lease ran out, and fail those that could not start in time.

        It is cheap, and any number may do it at once.
        """
        rescued: list[Rescue] = []
        with self.engine.begin() as connection:
            now = self.clock(connection)
            # Read before any is locked, so that of two sweeps at once neither misses a mate that
            # the other takes. A worker that beats has more than half of each lease left.
            silent = {"since": now + self._lease / 2}
            beside = dict(connection.execute(sql.SILENT, silent).all())
            rows = connection.execute(
                select(Job)
                .where(Job.status == "running", Job.lease_expires_at < now)
                .order_by(Job.id)
                .limit(RESCUED_AT_ONCE)
                .with_for_update(skip_locked=True)
            ).all()
            ledger = Ledger()
            dead: set[str] = set()
            for row in rows:
                claim = Claim(
                    row.id, row.attempt, row.kind, row.name, row.user_id, row.spec,
                    row.model_id, row.corpus_id, row.worker_id,
                    row.claimed_at, row.charged_seconds,
                )  # fmt: skip
                more: dict[str, Any] = {}
                outcome: Ending
                if row.kind == "generate" and beside.get(row.worker_id, 0) > 1 and not row.alone:
                    # Any of them may have done it: each runs alone before one is blamed.
                    outcome, error = "queued", None
                    more = {"alone": True, "fruitless_attempts": not_fruitless()}
                    dead.add(row.worker_id)
                else:
                    outcome, error = self._after_loss(row)
                # Of a batch nobody knows any more what each used: no more than it was charged.
                seconds = row.charged_seconds if row.kind == "generate" else None
                outcome = self._end(
                    connection, claim, now, outcome, ledger, seconds=seconds, error=error, **more
                )
                rescued.append(Rescue(row.id, row.kind, row.attempt, outcome))
            if dead:
                # Those of their mates whose leases end a little later are told while it is known.
                mates = connection.scalars(sql.MATES, silent | {"workers": list(dead)}).all()
                connection.execute(
                    update(Job)
                    .where(Job.id.in_(mates))
                    .values(alone=True, fruitless_attempts=not_fruitless())
                )
            ledger.post(connection, self._half_life, now)
            self._fail_overdue(connection, now)
        return rescued

    def waiting(self, seconds: float) -> list[Waiting]:
        """A job of each kind, where one could have run for `seconds` or more."""
        found = []
        with self.engine.connect() as connection:
            now = self.clock(connection)
            for kind in CLAIM_LOCKS:
                row = connection.execute(
                    select(Job.id, Job.created_at)
                    .where(Job.kind == kind, text(RUNNABLE))
                    .where(Job.created_at < now - timedelta(seconds=seconds))
                    .limit(1)
                ).one_or_none()
                if row is not None:
                    found.append(Waiting(row.id, kind, row.created_at))
        return found

    def retire_checkpoints(self) -> int:
        """Retire what could not go when it was superfluous; cheap, and any number may do it.

        Returns:
            How many went.
        """
        with self.engine.begin() as connection:
            found = retention.overfull(connection)
        gone = 0
        for job_id, keep in found:
            with self.engine.begin() as connection:
                gone += self._retire(connection, job_id, keep)
        return gone

    def _end_one(
        self,
        claim: Claim,
        status: Ending,
        seconds: float | None,
        texts: Sequence[TextRecord] = (),
        about: Mapping[str, object] | None = None,
        **values: object,
    ) -> None:
        # The texts in the same transaction: a cut-off one that an attempt left behind when it died
        # would stay, and a whole one of the next attempt be dropped.
        with self.engine.begin() as connection:
            now = self.clock(connection)
            ledger = Ledger()
            self._end(
                connection, claim, now, status, ledger, seconds=seconds, about=about, **values
            )
            add_texts(connection, claim, texts, now)
            ledger.post(connection, self._half_life, now)

    def _after_loss(self, row: Any) -> tuple[Ending, dict[str, Any] | None]:
        # What a job becomes whose worker has not been heard of for a whole lease.
        if row.fruitless_attempts < self.settings.max_attempts or row.cancel_requested_at:
            return "queued", None
        detail = (
            f"{row.fruitless_attempts} attempts ended without progress because the worker died or "
            f"froze, the last one on {row.worker_id}. Run the job again; if it happens again, "
            "ask for less (fewer units, a smaller batch) or look at that worker's log."
        )
        return "failed", problem("worker-lost", "The worker was lost", detail)
