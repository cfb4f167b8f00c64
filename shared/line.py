"""The line as people see it: where a job stands, when it may start, and what it waits for.

A `Line` is read once for many jobs: the users who wait, how many jobs of theirs do, and the
workers. A job's place is then arithmetic, and costs one look at its owner's own jobs.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from shared.candidates import Candidate, Rules, candidates_of
from shared.clock import database_now
from shared.records import Kind
from shared.service import midnight, trainings
from shared.settings import Settings
from shared.tables import LIFTED, RUNNABLE, RUNNING, SUCCEEDED, Device, Job

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
_OWN = (
    select(Job.id)
    .where(Job.kind == bindparam("kind"), Job.user_id == bindparam("user"), text(RUNNABLE))
    .order_by(Job.priority, Job.id)
    .limit(MOST_OWN_JOBS)
)
_RANKED = (
    select(Job.id, (func.row_number().over(order_by=(Job.priority, Job.id)) - 1).label("rank"))
    .where(Job.kind == bindparam("kind"), Job.user_id == bindparam("user"), text(RUNNABLE))
    .subquery()
)
_RANKS = select(_RANKED.c.id, _RANKED.c.rank).where(
    _RANKED.c.id.in_(bindparam("jobs", expanding=True))
)
_LIFTED = (
    select(Job.id)
    .where(Job.kind == bindparam("kind"), text(LIFTED), Job.blocked_by.is_(None))
    .order_by(Job.lifted_at, Job.id)
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
_WORKERS = (
    select(func.count())
    .select_from(Device)
    .where(
        Device.lane == bindparam("kind"),
        Device.ready_at.is_not(None),
        Device.drain_requested_at.is_(None),
        Device.heartbeat_at > bindparam("fresh", type_=Device.heartbeat_at.type),
    )
)


@dataclass(frozen=True, slots=True)
class Party:
    """A user who waits.

    Attributes:
        weight: What orders the users: service divided by share, in seconds.
        step: By how much each job of theirs that runs raises it.
        count: Runnable jobs of theirs.
        first: The id of the best of these.
        max_running: How many of theirs may run at once; None: any number.
        slots: How many more of theirs may run at once.
        seconds: What is left of their day's device time.
    """

    user_id: str
    weight: float
    step: float
    count: int
    first: str
    max_running: int | None
    slots: float
    seconds: float

    def ahead(self, weight: float, job_id: str) -> int:
        """How many of their jobs go before somebody's job of that weight and id."""
        if self.slots <= 0 or self.seconds <= 0 or self.weight > weight:
            return 0
        steps = (weight - self.weight) / self.step
        level = steps == int(steps) and self.first < job_id
        return min(self.count, math.ceil(steps) + level)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued job stands.

    Attributes:
        position: 1 for the next one to run; None where it is not in the line yet.
        starts_at: An estimate; None where there is none.
        reason: What it waits for, in words.
    """

    position: int | None
    starts_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one kind at one moment.

    Attributes:
        parties: The users who wait, by id.
        lifted: The jobs that an admin put above others, in their order.
        running: How many jobs run.
        free_seconds: When each worker will be free, the first first.
        slice_seconds: How long a worker is held at a time.
    """

    kind: Kind
    at: datetime
    parties: dict[str, Party]
    lifted: tuple[str, ...]
    running: int
    free_seconds: tuple[float, ...]
    slice_seconds: float

    @property
    def queued(self) -> int:
        """How many jobs could run."""
        return sum(party.count for party in self.parties.values())

    def start_of(self, position: int) -> datetime | None:
        """When the job at a position may start."""
        if not self.free_seconds:
            return None
        rounds, worker = divmod(position - 1, len(self.free_seconds))
        return self.at + timedelta(seconds=self.free_seconds[worker] + rounds * self.slice_seconds)

    def order(self) -> Iterator[str]:
        """The owners of the jobs in the line, one for each, in the order of their turns."""
        heap = [
            (party.weight, party.first, party.user_id, party.count)
            for party in self.parties.values()
        ]
        heapify(heap)
        while heap:
            weight, first, user_id, count = heap[0]
            yield user_id
            if count > 1:
                step = self.parties[user_id].step
                heapreplace(heap, (weight + step, first, user_id, count - 1))
            else:
                heappop(heap)


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
    values = {"kind": kind}
    rules = Rules.of(settings, kind)
    candidates = candidates_of(connection, kind, rules, trainings(connection, now), now)
    counts: dict[str, int] = {user_id: n for user_id, n in connection.execute(_COUNTS, values)}
    fresh = now - timedelta(seconds=settings.lease_seconds)
    workers = connection.scalar(_WORKERS, {"kind": kind, "fresh": fresh}) or 0
    running = connection.execute(_RUNNING, values).all()
    seconds = _slice_seconds(connection, kind, rules)
    left = sorted(_seconds_left(row, seconds, now) for row in running)[:workers]
    return Line(
        kind=kind,
        at=now,
        parties={c.user_id: _party(c, counts, rules) for c in candidates},
        lifted=tuple(connection.scalars(_LIFTED, values)),
        running=len(running),
        free_seconds=tuple([0.0] * (workers - len(left)) + left),
        slice_seconds=seconds,
    )


def own_jobs(connection: Connection, kind: Kind, user_id: str) -> list[str]:
    """The runnable jobs of one user, in the order in which they will run."""
    return list(connection.scalars(_OWN, {"kind": kind, "user": user_id}))


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
    values = {"kind": line.kind, "user": user_id, "jobs": [job.id for job in jobs]}
    ranks = {row.id: row.rank for row in connection.execute(_RANKS, values)}
    me = line.parties.get(user_id)
    found = {}
    for job in jobs:
        if job.blocked_by is not None:
            found[job.id] = Place(None, None, f"after job {job.blocked_by}")
        elif me is None or job.id not in ranks:
            # Submitted, or taken, since the line was read.
            found[job.id] = Place(line.queued + 1, None, "its turn among those who wait")
        else:
            found[job.id] = _place(line, me, job.id, ranks[job.id])
    return found


def _place(line: Line, me: Party, job_id: str, rank: int) -> Place:
    if job_id in line.lifted:
        position, before = line.lifted.index(job_id) + 1, ["an admin put it first"]
    else:
        weight = me.weight + rank * me.step
        ahead = [
            count
            for party in line.parties.values()
            if party.user_id != me.user_id and (count := party.ahead(weight, job_id))
        ]
        position = rank + sum(ahead) + len(line.lifted) + 1
        before = _before(rank, len(ahead), len(line.lifted))
    if me.seconds <= 0:
        until = midnight(line.at) + timedelta(days=1)
        return Place(position, until, f"your cap of device time a day, until {until:%H:%M} UTC")
    if me.slots <= 0:
        return Place(position, None, f"your cap of {me.max_running} running")
    if not line.free_seconds:
        return Place(position, None, f"no worker for {line.kind} is up")
    return Place(position, line.start_of(position), "waiting for: " + ", ".join(before))


def _before(own: int, others: int, lifted: int) -> list[str]:
    words = []
    if lifted:
        words.append(f"{number(lifted)} {'job' if lifted == 1 else 'jobs'} that an admin put first")
    if others:
        words.append(f"{number(others)} {'user' if others == 1 else 'users'} served less")
    if own:
        words.append(f"{number(own)} of your own jobs")
    return words or ["the next device that is free"]


def number(count: int) -> str:
    """Small numbers as words."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if count < len(words) else f"{count:,}"


def _party(candidate: Candidate, counts: dict[str, int], rules: Rules) -> Party:
    return Party(
        user_id=candidate.user_id,
        weight=candidate.weight,
        step=rules.charge_seconds / candidate.share,
        # The two statements may see a job come or go between them.
        count=max(1, counts.get(candidate.user_id, 1)),
        first=candidate.job_id,
        max_running=candidate.max_running,
        slots=candidate.slots,
        seconds=candidate.seconds,
    )


def _slice_seconds(connection: Connection, kind: str, rules: Rules) -> float:
    took = list(connection.scalars(_RECENT, {"kind": kind}))
    mean = sum(took) / len(took) if took else UNKNOWN_SECONDS[kind]
    return min(mean, rules.quantum_seconds)


def _seconds_left(row: Any, slice_seconds: float, now: datetime) -> float:
    held: float = (now - row.claimed_at).total_seconds()
    told: float | None = (row.progress or {}).get("seconds_left")
    return max(0.0, min(slice_seconds - held, math.inf if told is None else told))
