"""Claim jobs: one claim of a kind at a time, each in a snapshot taken after the lock."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection

from shared.checkpoint_aliases import resolve
from shared.database import reading
from shared.queue import sql
from shared.queue.base import QueueBase
from shared.queue.history import Event, add_events
from shared.queue.locks import serialise_claims
from shared.queue.types import Claim
from shared.scheduling import policy
from shared.scheduling.accounting import Ledger
from shared.scheduling.candidates import Rules
from shared.tables import Kind


class _SharesNoBatch(Exception):
    """A job that must run alone would have been claimed beside others."""


class JobClaims(QueueBase):
    """Claims of jobs by workers."""

    def claim(
        self,
        kind: Kind,
        device: str,
        limit: int = 1,
        *,
        slots: int | None = None,
        busy: bool = False,
        without: Collection[str] = (),
    ) -> list[Claim]:
        """Take the jobs that the scheduling policy picks, with a lease on each.

        A job that must run alone is claimed alone, and only by a worker that runs nothing. While
        such a job is the next one, a busy worker gets nothing.

        Args:
            kind: ``train`` or ``generate``.
            device: The claiming worker's id (its row in `devices`).
            limit: How many jobs the worker can take now.
            slots: How many jobs it can run at once; `limit` by default. Each job is charged its
                share of a quantum.
            busy: Whether the worker runs other jobs already.
            without: Users to pass over.
        """
        if not self.any_runnable(kind):
            return []
        rules = Rules.of(self.settings, kind, max(limit, slots or 1))
        pick = partial(policy.pick, kind=kind, limit=limit, rules=rules, without=without)
        try:
            return self._claim(kind, device, rules, pick, busy=busy, whole=True)
        except _SharesNoBatch:
            # This is rare, so no claim checks for it beforehand.
            return self._claim(kind, device, rules, pick, busy=busy, whole=False)

    def any_runnable(self, kind: Kind) -> bool:
        """Return whether a job of a kind is runnable, without a lock: a cap may still stop it.

        A claim that finds nothing would hold the lock that others wait for, on SQLite that of all
        writers.
        """
        with reading(self.engine) as connection:
            return connection.execute(sql.ANY_RUNNABLE, {"kind": kind}).first() is not None

    def _claim(
        self,
        kind: Kind,
        device: str,
        rules: Rules,
        pick: Callable[..., list[str]],
        *,
        busy: bool,
        whole: bool,
    ) -> list[Claim]:
        """Claim the picked jobs.

        Args:
            kind: As for `claim`.
            device: As for `claim`.
            rules: The numbers of the policy.
            pick: Picks job ids, given a connection and the time.
            busy: As for `claim`.
            whole: Claim all picked jobs; otherwise those before the first that must run alone.

        Raises:
            _SharesNoBatch: `whole`, and one of several jobs must run alone.
        """
        with self.engine.begin() as connection:
            serialise_claims(connection, kind)
            # A statement after the lock's has a snapshot taken after the wait for the lock. In
            # one statement with the lock, the caps would be counted in an older snapshot.
            now = self.clock(connection)
            picked: list[str] = []
            rows: Sequence[Any] = []
            while not rows:
                picked = pick(connection, now=now)
                if not whole:
                    picked = _before_one_alone(connection, picked, busy=busy)
                if not picked:
                    return []
                values = {
                    "picked": picked,
                    "charged": rules.charge_seconds,
                    "worker": device,
                    "lease": now + self._lease,
                    "now": now,
                }
                rows = connection.execute(sql.CLAIM, values).all()
                if whole and any(row.alone for row in rows) and (busy or len(rows) > 1):
                    raise _SharesNoBatch
                late = len(picked) - len(rows)
                # Those jobs are past `start_before`. One that another transaction has locked is
                # left to the next rescue.
                if late and not self._fail_overdue(connection, now) and not rows:
                    return []
            checkpoints = _set_checkpoints(connection, rows) if kind == "generate" else {}
            claims = [
                Claim(
                    job_id=row.id,
                    attempt=row.attempt,
                    kind=kind,
                    name=row.name,
                    user_id=row.user_id,
                    spec=row.spec,
                    model_id=row.model_id,
                    corpus_id=row.corpus_id,
                    worker_id=device,
                    claimed_at=now,
                    charged_seconds=rules.charge_seconds,
                    alone=row.alone,
                    checkpoint_id=checkpoints.get(row.id),
                )
                for row in sorted(rows, key=lambda row: picked.index(row.id))
            ]
            ledger = Ledger()
            for claim in claims:
                ledger.charge(claim.user_id, rules.charge_seconds)
            add_events(
                connection,
                [Event(c.job_id, c.attempt, "claimed", {"worker": device}) for c in claims],
                now,
            )
            # Lock the worker's row before the users', as the end of a run does.
            connection.execute(
                sql.SET_CURRENT_JOB,
                {"worker": device, "current_job_id": claims[0].job_id, "now": now},
            )
            ledger.post(connection, self._half_life, now)
            return claims


def _set_checkpoints(connection: Connection, rows: Sequence[Any]) -> dict[str, str]:
    """Choose the checkpoints of claimed generations.

    The first claim of a job looks up `best` or `latest` and stores what it found: a training may
    save a better checkpoint before a later attempt, which must use the same one.

    Returns:
        The checkpoints' ids by the jobs' ids.
    """
    resolved: dict[tuple[str, str], str | None] = {}
    chosen = {row.id: row.checkpoint_id for row in rows if row.checkpoint_id is not None}
    new = defaultdict(list)
    for row in rows:
        if row.id in chosen or row.model_id is None:
            continue
        reference = (row.model_id, row.spec.get("checkpoint", "best"))
        if reference not in resolved:
            resolved[reference] = resolve(connection, *reference)
        if checkpoint_id := resolved[reference]:
            new[checkpoint_id].append(row.id)
    for checkpoint_id, jobs in new.items():
        connection.execute(sql.SET_CHECKPOINT, {"jobs": jobs, "checkpoint": checkpoint_id})
        chosen |= dict.fromkeys(jobs, checkpoint_id)
    return chosen


def _before_one_alone(connection: Connection, picked: list[str], *, busy: bool) -> list[str]:
    """Return the picked jobs before the first that must run alone; if that is the first, only it.

    A busy worker gets nothing in the latter case.
    """
    alone = set(connection.scalars(sql.MUST_RUN_ALONE, {"picked": picked}))
    if picked and picked[0] in alone:
        return [] if busy else picked[:1]
    return list(takewhile(lambda job_id: job_id not in alone, picked))
