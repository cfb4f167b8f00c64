"""The claim: one at a time of a kind, in a snapshot taken after the wait for its turn."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection

from shared.checkpoint_aliases import resolve
from shared.queue import sql
from shared.queue.base import Base
from shared.queue.history import add_event
from shared.queue.types import Claim
from shared.scheduling import policy
from shared.scheduling.accounting import Ledger
from shared.scheduling.candidates import Rules
from shared.tables import Kind


class _SharesWithNobody(Exception):
    """A job that runs alone was about to be taken beside others."""


class Claiming(Base):
    """The queue as a worker asks it for work."""

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
        """Take the jobs that fairness picks, at most `limit`, and a lease on each.

        One that runs alone is taken alone, and only where the worker runs nothing: while it is
        the next one, a busy worker is given nothing.

        Args:
            kind: ``train`` or ``generate``.
            device: The claiming worker's id (its row in `devices`).
            limit: How many jobs the worker can take now.
            slots: How many it can run at once; `limit` if not given. Each is charged its part of
                a quantum.
            busy: Whether the worker runs others already.
            without: Users who are passed over.
        """
        rules = Rules.of(self.settings, kind, max(limit, slots or 1))
        pick = partial(policy.pick, kind=kind, limit=limit, rules=rules, without=without)
        try:
            return self._claim(kind, device, rules, pick, busy=busy, whole=True)
        except _SharesWithNobody:
            # It is rare, so nobody looks for it before.
            return self._claim(kind, device, rules, pick, busy=busy, whole=False)

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
        """Claim; `whole` takes all that is picked, or nothing where one of them runs alone."""
        with self.engine.begin() as connection:
            self._serialise(connection, kind)
            # A statement after the lock's has a snapshot taken after the wait for it:
            # in one statement with the lock, the caps would be counted in the past.
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
                    raise _SharesWithNobody
                late = len(picked) - len(rows)
                # Their turn has come too late; one that another has locked is left to the sweep.
                if late and not self._fail_overdue(connection, now) and not rows:
                    return []
            writes_with = _write_with(connection, rows) if kind == "generate" else {}
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
                    checkpoint_id=writes_with.get(row.id),
                )
                for row in sorted(rows, key=lambda row: picked.index(row.id))
            ]
            ledger = Ledger()
            for claim in claims:
                ledger.charge(claim.user_id, rules.charge_seconds)
                add_event(connection, claim.job_id, claim.attempt, now, "claimed", worker=device)
            # The worker's row before the users': an end locks them in this order too.
            connection.execute(
                sql.OCCUPY,
                {"worker": device, "current_job_id": claims[0].job_id, "heartbeat_at": now},
            )
            ledger.post(connection, self._half_life, now)
            return claims


def _write_with(connection: Connection, rows: Sequence[Any]) -> dict[str, str]:
    """The checkpoints that claimed generations write with, by the job's id.

    `best` and `latest` are looked up by a job's first claim, not when it was submitted, and kept:
    a training may save a better checkpoint before a later attempt, which is to write the same.
    """
    found: dict[tuple[str, str], str | None] = {}
    kept = {row.id: row.checkpoint_id for row in rows if row.checkpoint_id is not None}
    new = defaultdict(list)
    for row in rows:
        if row.id in kept or row.model_id is None:
            continue
        asked = (row.model_id, row.spec.get("checkpoint", "best"))
        if asked not in found:
            found[asked] = resolve(connection, *asked)
        if checkpoint_id := found[asked]:
            new[checkpoint_id].append(row.id)
    for checkpoint_id, jobs in new.items():
        connection.execute(sql.WRITE_WITH, {"jobs": jobs, "checkpoint": checkpoint_id})
        kept |= dict.fromkeys(jobs, checkpoint_id)
    return kept


def _before_one_alone(connection: Connection, picked: list[str], *, busy: bool) -> list[str]:
    """The picked jobs up to the first that runs alone; where that is the very first, it alone."""
    alone = set(connection.scalars(sql.ALONE, {"picked": picked}))
    if picked and picked[0] in alone:
        return [] if busy else picked[:1]
    return list(takewhile(lambda job_id: job_id not in alone, picked))
