"""Who runs next: among users with work, the least served; then first come.

Service is device time, charged at the claim and settled at the end, halved every half-life and
divided by the user's share. What a training has held beyond its charge counts too, so that a
long one is not cheaper than many short ones. `priority` orders a user's own jobs only; an admin
can lift a job above all. Called under the claim's serialising lock, so that the numbers it reads
are still true when they are used.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from shared.scheduling.accounting import RunningTraining, running_trainings
from shared.scheduling.candidates import Candidate, Rules, candidates_of, owners_of
from shared.tables import LIFTED, RUNNABLE, Job, Kind

#: Admins lift few jobs; those beyond wait as they would have.
LIFTED_AT_ONCE = 100
_LIFTED = (
    select(Job.id, Job.user_id)
    .where(Job.kind == bindparam("kind"), text(LIFTED), Job.blocked_by.is_(None))
    .order_by(Job.lifted_at, Job.id)
    .limit(LIFTED_AT_ONCE)
)
#: A user's jobs are read so many at a time.
READ_AHEAD = 64
_JOBS = (
    select(Job.id)
    .where(Job.kind == bindparam("kind"), Job.user_id == bindparam("user"), text(RUNNABLE))
    .order_by(Job.priority, Job.id)
    .limit(READ_AHEAD)
    .offset(bindparam("passed"))
)


def pick(
    connection: Connection,
    kind: Kind,
    limit: int,
    rules: Rules,
    now: datetime,
    without: Collection[str] = (),
) -> list[str]:
    """The ids of the jobs to run next, best first, at most `limit`, none of users in `without`."""
    line = _Line(connection, kind, rules, running_trainings(connection, now), now, without)
    while len(line.picked) < limit and line.take():
        pass
    return line.picked


def lifted(connection: Connection, kind: Kind) -> list[tuple[str, str]]:
    """The jobs that go above others, in their order, each with its owner."""
    return [(row.id, row.user_id) for row in connection.execute(_LIFTED, {"kind": kind})]


def must_yield(
    connection: Connection, job_id: str, rules: Rules, now: datetime, idle: int = 0
) -> bool:
    """Whether a training that has had its quantum is to give its device back.

    It is where its owner's day is used up, or where somebody with a better claim waits. Then
    the trainings of the most served users go first, and no more of them than are waited for.

    Args:
        connection: Any.
        job_id: The training.
        rules: The numbers.
        now: The time.
        idle: Workers that have nothing to do, and will claim in a moment.
    """
    running = running_trainings(connection, now)
    due = {t.job_id: t for t in running
           if not t.leaving and t.held_seconds >= rules.quantum_seconds}  # fmt: skip
    if job_id not in due:
        return False
    owners = owners_of(connection, running, rules, now)
    if owners[due[job_id].user_id].seconds <= 0:
        return True
    line = _Line(connection, "train", rules, running, now)
    # Devices that are free, or being given back, serve the first of those who wait.
    for _ in range(idle + sum(training.leaving for training in running)):
        line.take()
    victims = [t for t in due.values() if not t.lifted]
    for victim in sorted(victims, key=lambda t: (-owners[t.user_id].weight, t.job_id)):
        if not line.take(below=owners[victim.user_id].weight):
            return False
        if victim.job_id == job_id:
            return True
    return False


class _Line:
    """Those who wait, as they would be served one after the other."""

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
        self._connection, self._kind, self._rules = connection, kind, rules
        found = candidates_of(connection, kind, rules, running, now)
        self._candidates = [each for each in found if each.user_id not in without]
        self._ahead: dict[str, Iterator[str]] = {}
        owners = {candidate.user_id: candidate for candidate in self._candidates}
        self._lifted = [
            (job_id, owners[user_id])
            for job_id, user_id in lifted(connection, kind)
            if user_id in owners
        ]

    def take(self, below: float = math.inf) -> bool:
        """Pick the next job: a lifted one, or one of somebody whose weight is less than `below`.

        Returns:
            Whether there was one.
        """
        while self._lifted:
            job_id, owner = self._lifted.pop(0)
            if owner.may_run:
                return self._pick(job_id, owner)
        while (best := _best(self._candidates)) is not None and best.weight < below:
            if best.job_id not in self.picked:
                return self._pick(best.job_id, best)
            self._go_on(best)
        return False

    def _pick(self, job_id: str, owner: Candidate) -> bool:
        self.picked.append(job_id)
        owner.take(self._rules.charge_seconds)
        return True

    def _go_on(self, candidate: Candidate) -> None:
        """Let a candidate stand with the best job not picked yet, or not at all."""
        ahead = self._ahead.setdefault(candidate.user_id, self._jobs_of(candidate.user_id))
        following = next((job_id for job_id in ahead if job_id not in self.picked), None)
        if following is None:
            self._candidates.remove(candidate)
        else:
            candidate.job_id = following

    def _jobs_of(self, user_id: str) -> Iterator[str]:
        """The jobs of a user who waits, in their order."""
        passed, ids = 0, [""]
        while ids:
            values = {"kind": self._kind, "user": user_id, "passed": passed}
            ids = list(self._connection.scalars(_JOBS, values))
            yield from ids
            if len(ids) < READ_AHEAD:
                return
            passed += READ_AHEAD


def _best(candidates: Iterable[Candidate]) -> Candidate | None:
    runnable = (candidate for candidate in candidates if candidate.may_run)
    return min(runnable, key=lambda c: (c.weight, c.job_id), default=None)
