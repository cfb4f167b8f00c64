"""The line as people see it: where a job stands, when it may start, and what it waits for.

A `Line` is one kind's line at one moment (shared/scheduling/forecast_reader.py reads it): the
users who wait, how many jobs of theirs do, and the workers. A job's place is arithmetic on it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace

from shared.scheduling.accounting import midnight
from shared.tables import Kind


@dataclass(frozen=True, slots=True)
class Party:
    """A user who waits, as they stand once the lifted jobs have been claimed.

    Attributes:
        weight: What orders the users: service divided by share, in seconds.
        step: By how much each job of theirs that runs raises it.
        count: Runnable jobs of theirs, without those that are lifted.
        first: The id of the best of these; empty where there is none.
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

    @property
    def may_run(self) -> bool:
        """Whether no cap stands in the way."""
        return self.slots > 0 and self.seconds > 0

    def ahead(self, other: "Party", rank: int) -> int:
        """How many of their jobs go before the one of another that has `rank` before it."""
        steps = (other.weight + rank * other.step - self.weight) / self.step
        if steps < 0:
            return 0
        level = steps == int(steps) and self.first < other.first
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
class Turn:
    """Whose turn it is at a position.

    Attributes:
        job_id: The job, where it was lifted; else the best that its owner has by then.
        starts_at: An estimate; None where there is none.
    """

    position: int
    user_id: str
    job_id: str | None
    starts_at: datetime | None


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one kind at one moment.

    It is in the order of the claims: what an admin has lifted, then the users who may run, the
    least served first, and behind them those whom a cap stops now.

    Attributes:
        parties: The users who wait, by id.
        lifted: The owners of the jobs that an admin put above others, by the jobs, in their order;
            without those whom a cap stops.
        running: How many jobs run.
        workers: How many are up.
        places: How many jobs they run at once.
        left_seconds: When each place that is taken will be free, the first first.
        slice_seconds: How long a place is held at a time.
    """

    kind: Kind
    at: datetime
    parties: dict[str, Party]
    lifted: dict[str, str]
    running: int
    workers: int
    places: int
    left_seconds: tuple[float, ...]
    slice_seconds: float

    @property
    def queued(self) -> int:
        """How many jobs could run."""
        return len(self.lifted) + sum(party.count for party in self.parties.values())

    def start_of(self, position: int) -> datetime | None:
        """When the job at a position may start."""
        if not self.places:
            return None
        rounds, place = divmod(position - 1, self.places)
        taken = place - (self.places - len(self.left_seconds))
        wait = self.left_seconds[taken] if taken >= 0 else 0.0
        return self.at + timedelta(seconds=wait + rounds * self.slice_seconds)

    def order(self) -> Iterator[Turn]:
        """The jobs in the line, in the order of their turns."""
        position = 0
        for position, (job_id, user_id) in enumerate(self.lifted.items(), start=1):
            yield Turn(position, user_id, job_id, self.start_of(position))
        for party in self._in_turn():
            position += 1
            yield Turn(position, party.user_id, None, self._start(party, position))

    def place(self, user_id: str, job_id: str, rank: int) -> Place:
        """Where a job stands.

        Args:
            user_id: Its owner, one of the parties.
            job_id: It.
            rank: How many of its owner's other jobs go before it, without those that are lifted.
        """
        if job_id in self.lifted:
            position = list(self.lifted).index(job_id) + 1
            return Place(position, self.start_of(position), self._waits(["an admin put it first"]))
        me = self.parties[user_id]
        ahead = [
            count
            for party in self.parties.values()
            if party.user_id != user_id and (count := self._ahead(party, me, rank))
        ]
        position = len(self.lifted) + sum(ahead) + rank + 1
        starts_at = self._start(me, position)
        if me.seconds <= 0:
            reason = f"your cap of device time a day, until {starts_at:%H:%M} UTC"
        elif me.slots <= 0:
            reason = f"your cap of {me.max_running} running"
        else:
            reason = self._waits(_before(rank, len(ahead), len(self.lifted)))
        return Place(position, starts_at, reason)

    def _start(self, party: Party, position: int) -> datetime | None:
        if party.seconds <= 0:
            return midnight(self.at) + timedelta(days=1)
        return self.start_of(position) if party.slots > 0 else None

    def _waits(self, before: list[str]) -> str:
        if not self.places:
            return f"no worker for {self.kind} is up"
        return "waiting for: " + ", ".join(before)

    def _ahead(self, party: Party, me: Party, rank: int) -> int:
        if party.may_run == me.may_run:
            return party.ahead(me, rank)
        return party.count if party.may_run else 0

    def _in_turn(self) -> Iterator[Party]:
        parties = self.parties.values()
        yield from _least_served_first(party for party in parties if party.may_run)
        yield from _least_served_first(party for party in parties if not party.may_run)


def _least_served_first(parties: Iterable[Party]) -> Iterator[Party]:
    """Each party as often as it has jobs; a turn raises its weight by a step."""
    known = {party.user_id: party for party in parties if party.count}
    heap = [(party.weight, party.first, party.user_id, 0) for party in known.values()]
    heapify(heap)
    while heap:
        _, first, user_id, turns = heap[0]
        party, turns = known[user_id], turns + 1
        yield party
        if turns < party.count:
            heapreplace(heap, (party.weight + turns * party.step, first, user_id, turns))
        else:
            heappop(heap)


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
