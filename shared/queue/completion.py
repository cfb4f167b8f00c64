"""How a run ends: the job succeeds, fails, is cancelled, or goes back to the queue."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from shared.counters import FIRST_CHARACTER, LEASE_LOST, TOKENS, Tally
from shared.database import writing
from shared.queue import sql
from shared.queue.base import QueueBase, count_end, without_this_attempt
from shared.queue.errors import LeaseLost
from shared.queue.history import Event, add_events, add_texts, insert_texts, stored_texts
from shared.queue.types import (
    Claim,
    Generated,
    JobEnd,
    StatusAfterRun,
    StoredText,
    TextRecord,
)
from shared.scheduling.accounting import Ledger

#: A claim, and the texts that its run wrote.
FinishedJob = tuple[Claim, Sequence[TextRecord]]


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of jobs that were marked as succeeded together.

    Attributes:
        lost: The claims that had lost their lease: nothing was written for these.
        ends: The ends of the others, to be published to those who wait for them.
    """

    lost: list[Claim]
    ends: list[JobEnd]


class JobCompletion(QueueBase):
    """Ends of runs, as their workers report them."""

    def succeed(
        self, claim: Claim, texts: Sequence[TextRecord] = (), *, seconds: float | None = None
    ) -> None:
        """Mark a job as succeeded, and store its texts.

        Args:
            claim: The job.
            texts: What it wrote.
            seconds: How long it ran; by default the time since the claim.

        Raises:
            LeaseLost: Another attempt has the job, or it has ended; nothing was written.
        """
        used = {} if seconds is None else {claim.job_id: seconds}
        if self.finish([(claim, texts)], seconds=used).lost:
            raise LeaseLost(claim)

    def finish(
        self,
        finished: Sequence[FinishedJob],
        *,
        seconds: Mapping[str, float] | None = None,
        generated: Mapping[str, Generated] | None = None,
    ) -> Completion:
        """Mark many jobs as succeeded in one transaction, and store the texts of each.

        Each statement covers all jobs: another row costs a tenth of another statement.

        Args:
            finished: The jobs and their texts.
            seconds: How long each ran, by the job's id: each of thirty jobs in one batch ran a
                thirtieth. For jobs not named, the time since their claim.
            generated: What was generated, by the job's id, to be counted.

        Returns:
            Which claims had lost their lease, and the ends of the others.
        """
        with writing(self.engine) as connection:
            mine = [claim.job_id for claim, _ in finished]
            # Every transaction locks jobs in the order of their ids, so that two can't deadlock.
            sql.LOCK_ENDING.ahead(connection, {"mine": mine})
            now = self.clock(connection)
            rows = sql.LOCK_ENDING.all(connection, {"mine": mine})
            held = {(row.id, row.attempt): row for row in rows}
            ended, lost = [], []
            for claim, texts in finished:
                if (claim.job_id, claim.attempt) in held:
                    ended.append((claim, stored_texts(claim, texts, now)))
                else:
                    lost.append(claim)
            ledger = Ledger()
            if ended:
                claims = [claim for claim, _ in ended]
                self._settle(ledger, claims, now, seconds or {})
                _count(ledger.tally, claims, held, now, generated or {})
                self._mark_succeeded(connection, claims, now)
                insert_texts(connection, [text for _, texts in ended for text in texts])
                jobs = [claim.job_id for claim in claims]
                # What follows returns rows: it is sent before any of these are waited for.
                sql.UNBLOCK.ahead(connection, {"ended": jobs})
                ledger.read_ahead(connection)
                add_events(connection, [_success(claim, now) for claim in claims], now)
                self._unblock(connection, jobs, now)
            ledger.post(connection, self._half_life, now)
        return Completion(lost, [_end_of(claim, texts) for claim, texts in ended])

    def _mark_succeeded(
        self, connection: Connection, claims: Sequence[Claim], now: datetime
    ) -> None:
        """Take jobs that `LOCK_ENDING` has locked from their workers."""
        ended = defaultdict(list)
        for claim in claims:
            ended[_held_seconds(claim, now)].append(claim.job_id)
        # What was claimed together has been held for as long.
        for held, jobs in ended.items():
            values = {"new_status": "succeeded", "ended_at": now, "held_seconds": held}
            sql.END.run(connection, {"ended": jobs, **values})
        for worker in sorted({claim.worker_id for claim in claims}):
            values = {"worker": worker, "ended": [claim.job_id for claim in claims]}
            sql.CLEAR_CURRENT_JOB.run(connection, values)

    def _settle(
        self,
        ledger: Ledger,
        claims: Sequence[Claim],
        now: datetime,
        seconds: Mapping[str, float],
    ) -> None:
        """Replace the charges of ended jobs by the device time that they used."""
        for claim in claims:
            held = _held_seconds(claim, now)
            used = claim.device_seconds(held, seconds.get(claim.job_id))
            ledger.settle(claim.user_id, claim.charged_seconds, used, claim.claimed_at, now)

    def fail(
        self,
        claim: Claim,
        error: dict[str, Any],
        texts: Sequence[TextRecord] = (),
        *,
        seconds: float | None = None,
    ) -> None:
        """Mark a job as failed, and store what it wrote.

        Args:
            claim: The job.
            error: From `shared.queue.types.problem`; the owner reads it.
            texts: What was written so far.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `succeed`.
        """
        self._end_one(claim, "failed", seconds, texts, error=error)

    def cancel_claimed(
        self, claim: Claim, texts: Sequence[TextRecord] = (), *, seconds: float | None = None
    ) -> None:
        """Mark a claimed job as cancelled, as its owner asked, and store what it wrote.

        Args:
            claim: The job.
            texts: What was written so far.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `succeed`.
        """
        self._end_one(claim, "cancelled", seconds, texts)

    def release(
        self, claim: Claim, reason: str = "drained", *, seconds: float | None = None
    ) -> None:
        """Return a job to the queue; pause or cancel it if its owner asked for that meanwhile.

        Args:
            claim: The job.
            reason: For the job's history: ``drained``, ``yielded`` or ``paused``.
            seconds: As for `succeed`.

        Raises:
            LeaseLost: As for `succeed`.
        """
        self._end_one(
            claim,
            "queued",
            seconds,
            event_data={"reason": reason},
            fruitless_attempts=without_this_attempt(),
        )

    def note_leases_lost(self, count: int) -> None:
        """Count runs that found their lease lost, and wrote nothing of their own."""
        tally = Tally()
        tally.add(LEASE_LOST, amount=count)
        with self.engine.begin() as connection:
            tally.post(connection)

    def _end_one(
        self,
        claim: Claim,
        status: StatusAfterRun,
        seconds: float | None,
        texts: Sequence[TextRecord] = (),
        event_data: Mapping[str, object] | None = None,
        **values: object,
    ) -> None:
        # The texts are written in the same transaction. Otherwise a partial text of an attempt
        # that died would stay, and the whole text of the next attempt would be dropped.
        with self.engine.begin() as connection:
            now = self.clock(connection)
            ledger = Ledger()
            self._end(
                connection,
                claim,
                now,
                status,
                ledger,
                seconds=seconds,
                event_data=event_data,
                **values,
            )
            add_texts(connection, claim, texts, now)
            ledger.post(connection, self._half_life, now)


def _count(
    tally: Tally,
    claims: Sequence[Claim],
    rows: Mapping[tuple[str, int], Any],
    now: datetime,
    generated: Mapping[str, Generated],
) -> None:
    """Count jobs that have succeeded, and what they wrote."""
    for claim in claims:
        row = rows[claim.job_id, claim.attempt]
        ran = row.ran_seconds + _held_seconds(claim, now)
        count_end(tally, claim, row, ran, "succeeded")
        written = generated.get(claim.job_id)
        if written is None:
            continue
        tally.add(TOKENS, claim.kind, amount=written.tokens)
        if written.first_seconds is not None and claim.attempt == 1:
            since = (claim.claimed_at - row.created_at).total_seconds()
            tally.observe(FIRST_CHARACTER, value=max(0.0, since) + written.first_seconds)


def _success(claim: Claim, now: datetime) -> Event:
    data = {"seconds": round(_held_seconds(claim, now), 3)}
    return Event(claim.job_id, claim.attempt, "succeeded", data)


def _held_seconds(claim: Claim, now: datetime) -> float:
    return max(0.0, (now - claim.claimed_at).total_seconds())


def _end_of(claim: Claim, texts: Sequence[StoredText]) -> JobEnd:
    # An earlier attempt may have stored a text, which stays; a training stores its texts earlier.
    complete = claim.kind == "generate" and claim.attempt == 1
    return JobEnd(claim.job_id, claim.attempt, texts if complete else None)
