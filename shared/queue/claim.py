"""Claim jobs: one claim of a kind at a time, each in a snapshot taken after the lock."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection

from shared.checkpoint_aliases import FoundCheckpoint, find_checkpoint, resolve
from shared.database import reading, writing
from shared.queue import sql
from shared.queue.base import QueueBase
from shared.queue.history import Event, add_events
from shared.queue.locks import serialise_claims
from shared.queue.types import Claim
from shared.scheduling import policy
from shared.scheduling.accounting import Ledger
from shared.scheduling.candidates import Rules
from shared.scheduling.network_memory import NetworkMemory, NetworkNeed
from shared.tables import Kind

#: How often a claim picks again after it has passed over users whose networks have no room.
PICKS = 4


class _NoRoom(Exception):
    """The networks of the claimed jobs would take more memory than the worker has."""


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
        memory: NetworkMemory | None = None,
        device_slots: int = 1,
    ) -> list[Claim]:
        """Take the jobs that the scheduling policy picks, with a lease on each.

        A job that must run alone is claimed alone, and only by a worker that runs nothing. While
        such a job is the next one, a busy worker gets nothing. A job whose network finds no room
        in the worker's memory is passed over.

        Args:
            kind: ``train`` or ``generate``.
            device: The claiming worker's id (its row in `devices`).
            limit: How many jobs the worker can take now.
            slots: How many jobs it can run at once; `limit` by default. Each job is charged its
                share of a quantum.
            busy: Whether the worker runs other jobs already.
            without: Users to pass over.
            memory: What the networks of the worker's jobs take; None for no bound.
            device_slots: Into how many slots the device is divided, of which the worker is one.
        """
        if not self.any_runnable(kind):
            return []
        rules = Rules.of(self.settings, kind, max(limit, slots or 1), device_slots)
        pick = partial(policy.pick, kind=kind, limit=limit, rules=rules, without=without)
        whole = memory is None or not memory.has_waiting
        try:
            return self._claim(kind, device, rules, pick, memory, busy=busy, whole=whole)
        except (_SharesNoBatch, _NoRoom):
            # This is rare, so no claim checks for it beforehand.
            return self._claim(kind, device, rules, pick, memory, busy=busy, whole=False)

    def any_runnable(self, kind: Kind) -> bool:
        """Return whether a job of a kind is runnable, without a lock: a cap may still stop it.

        A claim that finds nothing would hold the lock that others wait for, on SQLite that of all
        writers.
        """
        with reading(self.engine) as connection:
            return sql.ANY_RUNNABLE.first(connection, {"kind": kind}) is not None

    def _claim(
        self,
        kind: Kind,
        device: str,
        rules: Rules,
        pick: "partial[list[str]]",
        memory: NetworkMemory | None,
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
            memory: As for `claim`.
            busy: As for `claim`.
            whole: Claim all picked jobs; otherwise those before the first that must run alone,
                whose networks have room.

        Raises:
            _SharesNoBatch: `whole`, and one of several jobs must run alone.
            _NoRoom: `whole`, and the jobs' networks have no room.
        """
        # A claim that a power cut undoes is gone with its worker, and the job waits as before.
        with writing(self.engine, synced=False) as connection:
            serialise_claims(connection, kind)
            policy.read_ahead(connection, kind)
            # A statement after the lock's has a snapshot taken after the wait for the lock. In
            # one statement with the lock, the caps would be counted in an older snapshot.
            now = self.clock(connection)
            ledger = Ledger()
            picked: list[str] = []
            rows: Sequence[Any] = []
            while not rows:
                if memory is None or whole:
                    picked = pick(connection, now=now)
                else:
                    picked = _pick_with_room(connection, pick, now, memory)
                if not whole:
                    picked = _before_one_alone(connection, picked, busy=busy)
                if not picked:
                    # Jobs that were late may have failed before this.
                    ledger.post(connection, self._half_life, now)
                    return []
                values = {
                    "picked": picked,
                    "charged": rules.charge_seconds,
                    "device_slots": rules.device_slots,
                    "worker": device,
                    "lease": now + self._lease,
                    "now": now,
                }
                rows = sql.CLAIM.all(connection, values)
                if whole and any(row.alone for row in rows) and (busy or len(rows) > 1):
                    raise _SharesNoBatch
                late = len(picked) - len(rows)
                # Those jobs are past `start_before`. One that another transaction has locked is
                # left to the next rescue.
                if late and not self._fail_overdue(connection, now, ledger.tally) and not rows:
                    return []
            checkpoints = _set_checkpoints(connection, rows, memory) if kind == "generate" else {}
            if memory is not None and whole:
                _learn_sizes(connection, memory, checkpoints.values())
                if not memory.have_room(checkpoints.values()):
                    raise _NoRoom
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
                    device_slots=rules.device_slots,
                )
                for row in sorted(rows, key=lambda row: picked.index(row.id))
            ]
            for claim in claims:
                ledger.charge(claim.user_id, rules.charge_seconds)
            add_events(
                connection,
                [Event(c.job_id, c.attempt, "claimed", {"worker": device}) for c in claims],
                now,
            )
            # Lock the worker's row before the users', as the end of a run does.
            sql.SET_CURRENT_JOB.run(
                connection, {"worker": device, "current_job_id": claims[0].job_id, "now": now}
            )
            ledger.post(connection, self._half_life, now)
            return claims


def _set_checkpoints(
    connection: Connection, rows: Sequence[Any], memory: NetworkMemory | None
) -> dict[str, str]:
    """Choose the checkpoints of claimed generations.

    The first claim of a job looks up `best` or `latest` and stores what it found: a training may
    save a better checkpoint before a later attempt, which must use the same one.

    Returns:
        The checkpoints' ids by the jobs' ids.
    """
    resolved: dict[tuple[str, str], FoundCheckpoint | None] = {}
    chosen = {row.id: row.checkpoint_id for row in rows if row.checkpoint_id is not None}
    new = defaultdict(list)
    for row in rows:
        if row.id in chosen or row.model_id is None:
            continue
        reference = (row.model_id, row.spec.get("checkpoint", "best"))
        if reference not in resolved:
            resolved[reference] = find_checkpoint(connection, *reference)
        if found := resolved[reference]:
            new[found.id].append(row.id)
            if memory is not None:
                memory.learn({found.id: found.size_bytes})
    for checkpoint_id, jobs in new.items():
        sql.SET_CHECKPOINT.run(connection, {"jobs": jobs, "checkpoint": checkpoint_id})
        chosen |= dict.fromkeys(jobs, checkpoint_id)
    return chosen


def _pick_with_room(
    connection: Connection,
    pick: "partial[list[str]]",
    now: datetime,
    memory: NetworkMemory,
) -> list[str]:
    """Pick jobs whose networks have room in a worker's memory, and others in place of the rest."""
    admitted: list[str] = []
    without = set(pick.keywords["without"])
    for _ in range(PICKS):
        picked = [job for job in pick(connection, now=now, without=without) if job not in admitted]
        needs = _network_needs(connection, picked)
        _learn_sizes(connection, memory, (need.checkpoint_id for need in needs))
        more, passed_over = memory.admit(needs)
        admitted += more
        if not passed_over:
            break
        without |= passed_over
    return admitted[: pick.keywords["limit"]]


def _network_needs(connection: Connection, picked: Sequence[str]) -> list[NetworkNeed]:
    """The checkpoints that picked jobs would load, in the order of the jobs."""
    rows = {row.id: row for row in connection.execute(sql.NETWORK_NEEDS, {"picked": picked})}
    needs = []
    for row in (rows[job_id] for job_id in picked if job_id in rows):
        checkpoint_id = row.checkpoint_id
        if checkpoint_id is None and row.model_id is not None:
            reference = row.spec.get("checkpoint", "best")
            checkpoint_id = resolve(connection, row.model_id, reference)
        needs.append(NetworkNeed(row.id, row.user_id, checkpoint_id))
    return needs


def _learn_sizes(
    connection: Connection, memory: NetworkMemory, checkpoints: Iterable[str | None]
) -> None:
    unknown = memory.unknown(checkpoints)
    if unknown:
        found = sql.CHECKPOINT_SIZES.all(connection, {"checkpoints": list(unknown)})
        # One that was deleted meanwhile takes nothing.
        memory.learn(dict.fromkeys(unknown, 0) | {row.id: row.size_bytes for row in found})


def _before_one_alone(connection: Connection, picked: list[str], *, busy: bool) -> list[str]:
    """Return the picked jobs before the first that must run alone; if that is the first, only it.

    A busy worker gets nothing in the latter case.
    """
    alone = set(connection.scalars(sql.MUST_RUN_ALONE, {"picked": picked}))
    if picked and picked[0] in alone:
        return [] if busy else picked[:1]
    return list(takewhile(lambda job_id: job_id not in alone, picked))
