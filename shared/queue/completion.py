"""How a run ends: the job succeeds, fails, is cancelled, or goes back to the queue."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.queue.base import QueueBase, without_this_attempt
from shared.queue.errors import LeaseLost
from shared.queue.history import add_texts
from shared.queue.types import Claim, StatusAfterRun, TextRecord
from shared.scheduling.accounting import Ledger

#: A claim, and the texts that its run wrote.
FinishedJob = tuple[Claim, Sequence[TextRecord]]


class JobCompletion(QueueBase):
    """Ends of runs, as their workers report them."""

    def succeed(
        self, claim: Claim, texts: Sequence[TextRecord] = (), *, seconds: float | None = None
    ) -> None:
        """Mark a job as succeeded, and store its texts.

        Args:
            claim: The job.
            texts: What it wrote.
            seconds: Device-seconds used; by default the time since the claim.

        Raises:
            LeaseLost: Another attempt has the job, or it has ended; nothing was written.
        """
        used = {} if seconds is None else {claim.job_id: seconds}
        if self.finish([(claim, texts)], seconds=used):
            raise LeaseLost(claim)

    def finish(
        self, finished: Sequence[FinishedJob], *, seconds: Mapping[str, float] | None = None
    ) -> list[Claim]:
        """Mark many jobs as succeeded in one transaction, and store the texts of each.

        Args:
            finished: The jobs and their texts.
            seconds: Device-seconds used, by the job's id: each of thirty jobs in one batch used
                a thirtieth. For jobs not named, the time since their claim.

        Returns:
            Claims that had lost their lease: nothing was written for these.
        """
        lost: list[Claim] = []
        used = seconds or {}
        with self.engine.begin() as connection:
            now = self.clock(connection)
            ledger = Ledger()
            succeeded = []
            # Every transaction locks jobs in the order of their ids, so that two can't deadlock.
            for claim, texts in sorted(finished, key=lambda job: job[0].job_id):
                try:
                    self._end(
                        connection, claim, now, "succeeded", ledger, seconds=used.get(claim.job_id)
                    )
                except LeaseLost:
                    lost.append(claim)
                    continue
                add_texts(connection, claim, texts, now)
                succeeded.append(claim.job_id)
            if succeeded:
                self._unblock(connection, succeeded, now)
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
