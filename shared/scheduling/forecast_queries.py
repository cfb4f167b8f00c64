"""Read forecasts (shared/scheduling/forecast.py) from the database.

One forecast serves many jobs; only the order of each user's own jobs is looked up separately.
"""

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from shared import worker_registry
from shared.clock import database_now
from shared.scheduling import policy
from shared.scheduling.accounting import running_trainings
from shared.scheduling.candidates import Candidate, Rules, candidates_of, claim_job_of
from shared.scheduling.forecast import Forecast, Place
from shared.scheduling.pooling import own, pooled, rounded
from shared.settings import Settings
from shared.tables import RUNNABLE, RUNNING, SUCCEEDED, Job, Kind

#: How long a job takes is estimated by the median of so many of the newest successful jobs.
RECENT_JOBS = 20
#: The estimate while the jobs that succeeded are too few to be told of.
UNKNOWN_SECONDS = {"train": math.inf, "generate": 2.0}
MOST_OWN_JOBS = 10_000
#: A forecast is cached for so many times the time it took to read.
CACHE_FACTOR = 20.0

_COUNTS = (
    select(Job.user_id, func.count())
    .where(Job.kind == bindparam("kind"), text(RUNNABLE))
    .group_by(Job.user_id)
)
#: The runnable jobs of a user, without those in `promoted`.
_OWN = (
    select(Job.id)
    .where(
        Job.kind == bindparam("kind"),
        Job.user_id == bindparam("user"),
        text(RUNNABLE),
        Job.id.not_in(bindparam("promoted", expanding=True)),
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
        Job.id.not_in(bindparam("promoted", expanding=True)),
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
    select(Job.user_id, Job.ran_seconds)
    .where(Job.kind == bindparam("kind"), text(SUCCEEDED))
    .order_by(Job.finished_at.desc())
    .limit(RECENT_JOBS)
)


class ForecastCache:
    """The latest forecast of each kind, cached for clients that poll.

    A forecast is cached for a time proportional to what it took to read. So reading takes a
    bounded share of the time, however long the queue is and however many clients poll.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cached: dict[Kind, tuple[float, Forecast | None]] = {}

    def of(self, connection: Connection, kind: Kind, viewer_id: str) -> Forecast:
        """Return the forecast of a kind as a user may see it.

        It is read anew if the cached one is too old. Where the jobs of all users say nothing, the
        viewer's own jobs count.
        """
        forecast = self._of_all(connection, kind)
        figures = own(forecast.recent_seconds, viewer_id)
        if forecast.is_measured or not figures:
            return forecast
        seconds = min(sum(figures) / len(figures), forecast.slice_seconds_at_most)
        return replace(forecast, slice_seconds=seconds)

    def _of_all(self, connection: Connection, kind: Kind) -> Forecast:
        started = time.monotonic()
        until, forecast = self._cached.get(kind, (started, None))
        if forecast is not None and started < until:
            return forecast
        forecast = read_forecast(connection, kind, self._settings, database_now(connection))
        ended = time.monotonic()
        self._cached[kind] = (ended + CACHE_FACTOR * (ended - started), forecast)
        return forecast


def read_forecast(
    connection: Connection, kind: Kind, settings: Settings, now: datetime
) -> Forecast:
    """Read the forecast of a kind."""
    # As in a worker's claim: a generation takes one of many slots, and is charged for one. Which
    # device takes a training isn't known here: it is charged what its claim costs on the average.
    slots = settings.generate_jobs if kind == "generate" else 1
    lanes = worker_registry.mean_slots(connection, kind, now, settings.lease_seconds)
    rules = Rules.of(settings, kind, slots * lanes)
    candidates = candidates_of(connection, kind, rules, running_trainings(connection, now), now)
    promoted, candidates = _claim_promoted(connection, kind, candidates)
    workers = worker_registry.count_ready(connection, kind, now, settings.lease_seconds)
    running = connection.execute(_RUNNING, {"kind": kind}).all()
    recent = tuple(connection.execute(_RECENT, {"kind": kind}).all())
    measured = pooled(recent)
    mean = UNKNOWN_SECONDS[kind] if measured is None else measured
    seconds = min(mean, rules.quantum_seconds)
    left = sorted(rounded(_seconds_left(row, seconds, now)) for row in running)
    return Forecast(
        kind=kind,
        at=now,
        users=_with_job_counts(connection, kind, candidates, promoted),
        promoted=promoted,
        running=len(running),
        workers=workers,
        slots=workers * slots,
        left_seconds=tuple(left[: workers * slots]),
        slice_seconds=seconds,
        slice_seconds_at_most=rules.quantum_seconds,
        is_measured=measured is not None,
        recent_seconds=recent,
    )


def own_jobs(
    connection: Connection,
    kind: Kind,
    user_id: str,
    promoted: Collection[str],
    most: int = MOST_OWN_JOBS,
) -> list[str]:
    """Read a user's runnable jobs, without promoted ones, in the order in which they will run."""
    values = {"kind": kind, "user": user_id, "promoted": list(promoted), "most": most}
    return list(connection.scalars(_OWN, values))


def places(
    connection: Connection, forecast: Forecast, user_id: str, jobs: Sequence[Any]
) -> dict[str, Place]:
    """Compute the places of queued jobs of one user, by id.

    Args:
        connection: To read the order of the user's jobs.
        forecast: The forecast of the jobs' kind.
        user_id: The user.
        jobs: The rows of the jobs.
    """
    values = {
        "kind": forecast.kind,
        "user": user_id,
        "promoted": list(forecast.promoted),
        "jobs": [job.id for job in jobs],
    }
    ranks = {row.id: row.rank for row in connection.execute(_RANKS, values)}
    found = {}
    for job in jobs:
        if job.blocked_by is not None:
            found[job.id] = Place(None, None, f"after job {job.blocked_by}")
        elif job.id in forecast.promoted or (user_id in forecast.users and job.id in ranks):
            found[job.id] = forecast.place(user_id, job.id, ranks.get(job.id, 0))
        else:
            # Submitted or claimed since the forecast was read.
            found[job.id] = Place(forecast.queued + 1, None, "its turn among the queued jobs")
    return found


def _claim_promoted(
    connection: Connection, kind: Kind, candidates: list[Candidate]
) -> tuple[dict[str, str], list[Candidate]]:
    """Charge the promoted jobs that no cap stops to their owners, as their claims will.

    Returns:
        The owners of these jobs by the jobs' ids, and the candidates afterwards.
    """
    by_user = {candidate.user_id: candidate for candidate in candidates}
    promoted = {}
    for job_id, user_id in policy.promoted_jobs(connection, kind):
        owner = by_user.get(user_id)
        if owner is not None and owner.may_run:
            claim_job_of(by_user, user_id)
            promoted[job_id] = user_id
    return promoted, list(by_user.values())


def _with_job_counts(
    connection: Connection, kind: Kind, candidates: list[Candidate], promoted: dict[str, str]
) -> dict[str, Candidate]:
    """Set each candidate's best job and number of jobs, not counting promoted ones."""
    counts: dict[str, int] = {user: n for user, n in connection.execute(_COUNTS, {"kind": kind})}
    promoted_of = Counter(promoted.values())
    users = {}
    for candidate in candidates:
        user_id, job_id = candidate.user_id, candidate.job_id
        # A job may come or go between the two statements.
        count = max(1, counts.get(user_id, 1)) - promoted_of[user_id]
        if user_id in promoted_of:
            [job_id] = own_jobs(connection, kind, user_id, promoted, 1) or [""]
        users[user_id] = replace(candidate, job_id=job_id, job_count=max(0, count) if job_id else 0)
    return users


def _seconds_left(row: Any, slice_seconds: float, now: datetime) -> float:
    held: float = (now - row.claimed_at).total_seconds()
    reported: float | None = (row.progress or {}).get("seconds_left")
    return max(0.0, min(slice_seconds - held, math.inf if reported is None else reported))
