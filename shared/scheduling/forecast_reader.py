"""Reads the line (shared/scheduling/forecast.py) from the database.

It is read once for many jobs; what is left to look up for each person is the order of their own.
"""

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from shared import worker_registry
from shared.clock import database_now
from shared.scheduling import policy
from shared.scheduling.accounting import running_trainings
from shared.scheduling.candidates import Candidate, Rules, candidates_of
from shared.scheduling.forecast import Line, Party, Place
from shared.settings import Settings
from shared.tables import RUNNABLE, RUNNING, SUCCEEDED, Job, Kind

#: Of so many jobs that have succeeded, the newest, the mean tells how long one takes.
RECENT_JOBS = 20
#: Where none has succeeded yet.
UNKNOWN_SECONDS = {"train": math.inf, "generate": 2.0}
MOST_OWN_JOBS = 10_000
#: A line is kept for so many times what it took to read.
KEPT_FACTOR = 20.0

_COUNTS = (
    select(Job.user_id, func.count())
    .where(Job.kind == bindparam("kind"), text(RUNNABLE))
    .group_by(Job.user_id)
)
#: The jobs of a user that could run, without those in `lifted`.
_OWN = (
    select(Job.id)
    .where(
        Job.kind == bindparam("kind"),
        Job.user_id == bindparam("user"),
        text(RUNNABLE),
        Job.id.not_in(bindparam("lifted", expanding=True)),
    )
    .order_by(Job.priority, Job.id)
    .limit(bindparam("most"))
)
_RANKED = (
    select(Job.id, (func.row_number().over(order_by=(Job.priority, Job.id)) - 1).label("rank"))
    .where(
        Job.kind == bindparam("kind"),
        Job.user_id == bindparam("user"),
        text(RUNNABLE),
        Job.id.not_in(bindparam("lifted", expanding=True)),
    )
    .subquery()
)
_RANKS = select(_RANKED.c.id, _RANKED.c.rank).where(
    _RANKED.c.id.in_(bindparam("jobs", expanding=True))
)
_RUNNING = select(Job.claimed_at, Job.progress).where(
    Job.kind == bindparam("kind"), text(RUNNING)
)  # fmt: skip
_RECENT = (
    select(Job.ran_seconds)
    .where(Job.kind == bindparam("kind"), text(SUCCEEDED))
    .order_by(Job.finished_at.desc())
    .limit(RECENT_JOBS)
)


class Lines:
    """The lines as they were a moment ago, for the many who ask again and again.

    A line is kept for a while that grows with what it took to read, so that reading it takes a
    bounded share of the time, however long it is and however many ask.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[Kind, tuple[float, Line | None]] = {}

    def of(self, connection: Connection, kind: Kind) -> Line:
        """The line of a kind."""
        started = time.monotonic()
        until, line = self._kept.get(kind, (started, None))
        if line is not None and started < until:
            return line
        line = read_line(connection, kind, self._settings, database_now(connection))
        ended = time.monotonic()
        self._kept[kind] = (ended + KEPT_FACTOR * (ended - started), line)
        return line


def read_line(connection: Connection, kind: Kind, settings: Settings, now: datetime) -> Line:
    """The line of a kind."""
    # As a worker claims: a text takes one of many places of its device, and is charged for one.
    slots = settings.generate_jobs if kind == "generate" else 1
    rules = Rules.of(settings, kind, slots)
    candidates = candidates_of(connection, kind, rules, running_trainings(connection, now), now)
    lifted = _lifted(connection, kind, candidates, rules)
    workers = worker_registry.count_ready(connection, kind, now, settings.lease_seconds)
    running = connection.execute(_RUNNING, {"kind": kind}).all()
    seconds = _slice_seconds(connection, kind, rules)
    left = sorted(_seconds_left(row, seconds, now) for row in running)
    return Line(
        kind=kind,
        at=now,
        parties=_parties(connection, kind, candidates, lifted, rules),
        lifted=lifted,
        running=len(running),
        workers=workers,
        places=workers * slots,
        left_seconds=tuple(left[: workers * slots]),
        slice_seconds=seconds,
    )


def own_jobs(
    connection: Connection,
    kind: Kind,
    user_id: str,
    lifted: Collection[str],
    most: int = MOST_OWN_JOBS,
) -> list[str]:
    """A user's runnable jobs, but for the lifted ones, in the order in which they will run."""
    values = {"kind": kind, "user": user_id, "lifted": list(lifted), "most": most}
    return list(connection.scalars(_OWN, values))


def places(
    connection: Connection, line: Line, user_id: str, jobs: Sequence[Any]
) -> dict[str, Place]:
    """Where queued jobs of one user stand, by id.

    Args:
        connection: Any.
        line: Of their kind.
        user_id: Their owner.
        jobs: Their rows.
    """
    values = {
        "kind": line.kind,
        "user": user_id,
        "lifted": list(line.lifted),
        "jobs": [job.id for job in jobs],
    }
    ranks = {row.id: row.rank for row in connection.execute(_RANKS, values)}
    found = {}
    for job in jobs:
        if job.blocked_by is not None:
            found[job.id] = Place(None, None, f"after job {job.blocked_by}")
        elif job.id in line.lifted or (user_id in line.parties and job.id in ranks):
            found[job.id] = line.place(user_id, job.id, ranks.get(job.id, 0))
        else:
            # Submitted, or taken, since the line was read.
            found[job.id] = Place(line.queued + 1, None, "its turn among those who wait")
    return found


def _lifted(
    connection: Connection, kind: Kind, candidates: list[Candidate], rules: Rules
) -> dict[str, str]:
    """The lifted jobs that no cap stops, and their owners, who are charged as by the claim."""
    owners = {candidate.user_id: candidate for candidate in candidates}
    found = {}
    for job_id, user_id in policy.lifted(connection, kind):
        owner = owners.get(user_id)
        if owner is not None and owner.may_run:
            owner.take(rules.charge_seconds)
            found[job_id] = user_id
    return found


def _parties(
    connection: Connection,
    kind: Kind,
    candidates: list[Candidate],
    lifted: dict[str, str],
    rules: Rules,
) -> dict[str, Party]:
    counts: dict[str, int] = {user: n for user, n in connection.execute(_COUNTS, {"kind": kind})}
    taken = Counter(lifted.values())
    found = {}
    for candidate in candidates:
        user_id, first = candidate.user_id, candidate.job_id
        # The statements may see a job come or go between them.
        count = max(1, counts.get(user_id, 1)) - taken[user_id]
        if user_id in taken:
            [first] = own_jobs(connection, kind, user_id, lifted, 1) or [""]
        found[user_id] = Party(
            user_id=user_id,
            weight=candidate.weight,
            step=rules.charge_seconds / candidate.share,
            count=max(0, count) if first else 0,
            first=first,
            max_running=candidate.max_running,
            slots=candidate.slots,
            seconds=candidate.seconds,
        )
    return found


def _slice_seconds(connection: Connection, kind: Kind, rules: Rules) -> float:
    took = list(connection.scalars(_RECENT, {"kind": kind}))
    mean = sum(took) / len(took) if took else UNKNOWN_SECONDS[kind]
    return min(mean, rules.quantum_seconds)


def _seconds_left(row: Any, slice_seconds: float, now: datetime) -> float:
    held: float = (now - row.claimed_at).total_seconds()
    told: float | None = (row.progress or {}).get("seconds_left")
    return max(0.0, min(slice_seconds - held, math.inf if told is None else told))
