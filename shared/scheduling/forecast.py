"""The forecast: at which position a job waits, when it may start, and what it waits for.

A `Forecast` is the queue of one kind at one moment (shared/scheduling/forecast_queries.py reads
it): the waiting users, how many jobs each has, and the workers. Positions are computed from it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace

from shared.scheduling.accounting import midnight
from shared.scheduling.candidates import Candidate
from shared.tables import Kind


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a queued job.

    Attributes:
        position: 1 for the next job to run; None while the job waits for another job.
        starts_at: An estimate; None if there is none.
        reason: What the job waits for, in words.
    """

    position: int | None
    starts_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The user whose job runs at a position.

    Attributes:
        job_id: The job if it was promoted; None for the best that the user has by then.
        starts_at: An estimate; None if there is none.
    """

    position: int
    user_id: str
    job_id: str | None
    starts_at: datetime | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The queue of one kind at one moment, in the order of the claims.

    Promoted jobs come first, then the users who may run, the least served first, then those whom
    a cap stops now.

    Attributes:
        users: The waiting users by id, as they are once the promoted jobs have been claimed.
            Their jobs do not include promoted ones.
        promoted: The owners of promoted jobs by the jobs' ids, in their order, without those whom
            a cap stops.
        running: How many jobs run.
        workers: How many workers are ready.
        slots: How many jobs they run at once.
        left_seconds: When each taken slot will be free, in ascending order.
        slice_seconds: How long a job holds a slot at a time.
        slice_seconds_at_most: How long it may hold one while others wait.
        is_measured: Whether enough jobs of enough users tell how long a job takes.
        recent_seconds: For the newest successful jobs, the user and how long the job ran.
    """

    kind: Kind
    at: datetime
    users: dict[str, Candidate]
    promoted: dict[str, str]
    running: int
    workers: int
    slots: int
    left_seconds: tuple[float, ...]
    slice_seconds: float
    slice_seconds_at_most: float = math.inf
    is_measured: bool = True
    recent_seconds: tuple[tuple[str, float], ...] = ()

    @property
    def queued(self) -> int:
        """How many jobs are runnable."""
        return len(self.promoted) + sum(user.job_count for user in self.users.values())

    def start_of(self, position: int) -> datetime | None:
        """Estimate when the job at a position may start."""
        if not self.slots:
            return None
        rounds, slot = divmod(position - 1, self.slots)
        taken = slot - (self.slots - len(self.left_seconds))
        wait = self.left_seconds[taken] if taken >= 0 else 0.0
        return self.at + timedelta(seconds=wait + rounds * self.slice_seconds)

    def turns(self) -> Iterator[Turn]:
        """Iterate over the waiting jobs in the order in which they will run."""
        position = 0
        for position, (job_id, user_id) in enumerate(self.promoted.items(), start=1):
            yield Turn(position, user_id, job_id, self.start_of(position))
        for user in self._users_in_turn():
            position += 1
            yield Turn(position, user.user_id, None, self._start(user, position))

    def place(self, user_id: str, job_id: str, rank: int) -> Place:
        """Compute the place of a job.

        Args:
            user_id: Its owner, one of `users`.
            job_id: The job.
            rank: How many of its owner's other jobs go before it, not counting promoted ones.
        """
        if job_id in self.promoted:
            position = list(self.promoted).index(job_id) + 1
            return Place(position, self.start_of(position), self._reason(["an admin put it first"]))
        owner = self.users[user_id]
        ahead = [
            count
            for user in self.users.values()
            if user.user_id != user_id and (count := self._jobs_ahead(user, owner, rank))
        ]
        position = len(self.promoted) + sum(ahead) + rank + 1
        starts_at = self._start(owner, position)
        full = owner.without_room()
        if owner.is_over and not owner.may_run:
            reason = "the group that your account was made for is over: ask an admin"
        elif full is not None:
            what = "device time a day" if full.seconds <= 0 else f"{full.max_running} running"
            reason = f"the cap of {what} of the group {full.name!r}"
        elif owner.seconds <= 0:
            reason = f"your cap of device time a day, until {starts_at:%H:%M} UTC"
        elif owner.slots <= 0:
            reason = f"your cap of {owner.max_running} running"
        else:
            reason = self._reason(_jobs_before(rank, len(ahead), len(self.promoted)))
        return Place(position, starts_at, reason)

    def place_of_next(self, user_id: str) -> Place:
        """Compute the place that a user's next job would have if it was submitted now."""
        if user_id in self.users:
            return self.place(user_id, "", self.users[user_id].job_count)
        # Nothing of theirs waits, so that it is not known here how much they were served.
        position = self.queued + 1
        before = ["its turn among the queued jobs"] if self.queued else _jobs_before(0, 0, 0)
        return Place(position, self.start_of(position), self._reason(before))

    def _start(self, user: Candidate, position: int) -> datetime | None:
        if user.is_over and not user.may_run:
            return None
        if not user.has_seconds:
            return midnight(self.at) + timedelta(days=1)
        return self.start_of(position) if user.may_run else None

    def _reason(self, before: list[str]) -> str:
        if not self.slots:
            return f"no worker for {self.kind} is up"
        return "waiting for: " + ", ".join(before)

    def _jobs_ahead(self, user: Candidate, owner: Candidate, rank: int) -> int:
        if user.may_run == owner.may_run:
            return user.jobs_ahead_of(owner, rank)
        return user.job_count if user.may_run else 0

    def _users_in_turn(self) -> Iterator[Candidate]:
        users = self.users.values()
        yield from _least_served_first(user for user in users if user.may_run)
        yield from _least_served_first(user for user in users if not user.may_run)


def _least_served_first(users: Iterable[Candidate]) -> Iterator[Candidate]:
    """Yield each user once for each job; every turn raises the user's weight by a step."""
    with_jobs = {user.user_id: user for user in users if user.job_count}
    heap = [(user.weight, user.job_id, user.user_id, 0) for user in with_jobs.values()]
    heapify(heap)
    while heap:
        _, job_id, user_id, turns = heap[0]
        user, turns = with_jobs[user_id], turns + 1
        yield user
        if turns < user.job_count:
            heapreplace(heap, (user.weight + turns * user.step, job_id, user_id, turns))
        else:
            heappop(heap)


def _jobs_before(own: int, users: int, promoted: int) -> list[str]:
    """Say in words which jobs go before a job."""
    words = []
    if promoted:
        jobs = "job" if promoted == 1 else "jobs"
        words.append(f"{number(promoted)} {jobs} that an admin put first")
    if users:
        words.append(f"{number(users)} {'user' if users == 1 else 'users'} served less")
    if own:
        words.append(f"{number(own)} of your own jobs")
    return words or ["the next device that is free"]


def number(count: int) -> str:
    """Write numbers up to ten as words."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[count] if count < len(words) else f"{count:,}"
