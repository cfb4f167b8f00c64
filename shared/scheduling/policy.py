"""The scheduling policy: the least served user with work goes first, then first come.

Service is device time, charged at the claim, settled at the end, halved every half-life and
divided by the user's share. What a training has held beyond its charge counts too, so that one
long training is not cheaper than many short ones. `priority` orders only a user's own jobs; an
admin can promote a job ahead of all. The claim calls this under its serialising lock, so that the
numbers read here are still true when they are used.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from shared.prepared import Prepared
from shared.scheduling.accounting import (
    RunningTraining,
    read_trainings_ahead,
    running_trainings,
)
from shared.scheduling.candidates import (
    Candidate,
    Rules,
    candidates_of,
    claim_job_of,
    owners_of,
    read_candidates_ahead,
)
from shared.tables import PROMOTED, RUNNABLE, Job, Kind

#: Admins promote few jobs; any beyond these wait as if they were not promoted.
PROMOTED_AT_ONCE = 100
_PROMOTED = Prepared(
    select(Job.id, Job.user_id)
    .where(Job.kind == bindparam("kind"), text(PROMOTED), Job.blocked_by.is_(None))
    .order_by(Job.lifted_at, Job.id)
    .limit(PROMOTED_AT_ONCE)
)
#: How many of a user's jobs are read at a time.
READ_AHEAD = 64
_JOBS = Prepared(
    select(Job.id)
    .where(Job.kind == bindparam("kind"), Job.user_id == bindparam("user"), text(RUNNABLE))
    .order_by(Job.priority, Job.id)
    .limit(READ_AHEAD)
    .offset(bindparam("offset"))
)


def pick(
    connection: Connection,
    kind: Kind,
    limit: int,
    rules: Rules,
    now: datetime,
    without: Collection[str] = (),
) -> list[str]:
    """Pick the jobs to run next: at most `limit` ids, best first, none of users in `without`."""
    picker = _Picker(connection, kind, rules, running_trainings(connection, now), now, without)
    while len(picker.picked) < limit and picker.pick_next():
        pass
    return picker.picked


def read_ahead(connection: Connection, kind: Kind) -> None:
    """Send what `pick` will read first, once the claims of the kind are locked."""
    read_trainings_ahead(connection)
    read_candidates_ahead(connection, kind)
    _PROMOTED.ahead(connection, {"kind": kind})


def promoted_jobs(connection: Connection, kind: Kind) -> list[tuple[str, str]]:
    """Read the ids of promoted jobs that wait, in their order, each with its owner's id."""
    return [(row.id, row.user_id) for row in _PROMOTED.all(connection, {"kind": kind})]


def must_yield(
    connection: Connection, job_id: str, rules: Rules, now: datetime, idle: int = 0
) -> bool:
    """Decide whether a training that has had its quantum must yield its device.

    It must if today's device time of its owner, or of a group of theirs, is used up, or if a less
    served user waits. In the latter case the trainings of the most served users yield first, and
    no more of them than there are jobs waiting.

    Args:
        connection: In the heartbeat's transaction.
        job_id: The training.
        rules: The numbers of the policy.
        now: The time.
        idle: Workers that run nothing and will claim in a moment.
    """
    running = running_trainings(connection, now)
    due = {t.job_id: t for t in running
           if not t.leaving and t.held_seconds >= rules.quantum_seconds}  # fmt: skip
    if job_id not in due:
        return False
    owners = owners_of(connection, running, rules, now)
    if not owners[due[job_id].user_id].has_seconds:
        return True
    picker = _Picker(connection, "train", rules, running, now)
    # Devices that are free or about to be serve the first of the waiting jobs.
    for _ in range(idle + sum(training.leaving for training in running)):
        picker.pick_next()
    victims = [t for t in due.values() if not t.promoted]
    for victim in sorted(victims, key=lambda t: (-owners[t.user_id].weight, t.job_id)):
        if not picker.pick_next(below=owners[victim.user_id].weight):
            return False
        if victim.job_id == job_id:
            return True
    return False


class _Picker:
    """Picks waiting jobs one after the other, as they would be claimed."""

    def __init__(
        self,
        connection: Connection,
        kind: Kind,
        rules: Rules,
        running: list[RunningTraining],
        now: datetime,
        without: Collection[str] = (),
    ) -> None:
        self.picked: list[str] = []
        self._connection, self._kind = connection, kind
        self._candidates = {
            candidate.user_id: candidate
            for candidate in candidates_of(connection, kind, rules, running, now)
            if candidate.user_id not in without
        }
        self._further_jobs: dict[str, Iterator[str]] = {}
        self._promoted = [
            (job_id, user_id)
            for job_id, user_id in promoted_jobs(connection, kind)
            if user_id in self._candidates
        ]

    def pick_next(self, below: float = math.inf) -> bool:
        """Pick a promoted job, or else the best job of a user whose weight is less than `below`.

        Returns:
            Whether there was one.
        """
        while self._promoted:
            job_id, user_id = self._promoted.pop(0)
            owner = self._candidates[user_id]
            if owner.may_run:
                self._pick(job_id, owner)
                return True
        while (best := _best(self._candidates.values())) is not None and best.weight < below:
            if best.job_id not in self.picked:
                self._pick(best.job_id, best)
                return True
            self._advance(best)
        return False

    def _pick(self, job_id: str, owner: Candidate) -> None:
        self.picked.append(job_id)
        claim_job_of(self._candidates, owner.user_id)

    def _advance(self, candidate: Candidate) -> None:
        """Give a candidate its best job that is not picked yet; drop it if there is none."""
        user_id = candidate.user_id
        further = self._further_jobs.setdefault(user_id, self._jobs_of(user_id))
        job_id = next((job_id for job_id in further if job_id not in self.picked), None)
        if job_id is None:
            del self._candidates[user_id]
        else:
            self._candidates[user_id] = replace(candidate, job_id=job_id)

    def _jobs_of(self, user_id: str) -> Iterator[str]:
        """Read the runnable jobs of a user in their order."""
        offset, ids = 0, [""]
        while ids:
            values = {"kind": self._kind, "user": user_id, "offset": offset}
            ids = [row.id for row in _JOBS.all(self._connection, values)]
            yield from ids
            if len(ids) < READ_AHEAD:
                return
            offset += READ_AHEAD


def _best(candidates: Iterable[Candidate]) -> Candidate | None:
    runnable = (candidate for candidate in candidates if candidate.may_run)
    return min(runnable, key=lambda c: (c.weight, c.job_id), default=None)
