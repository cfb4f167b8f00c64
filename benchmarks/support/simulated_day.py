"""A simulated day on a shared server: thirty users who compete for a few devices.

The users, the devices and the clock are simulated; a policy decides who runs next
(benchmarks/support/policies.py).
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from benchmarks.support.policies import (
    EQUAL,
    MAX_RUNNING,
    QUANTUM_SECONDS,
    Job,
    Policy,
    SimulatedClock,
)

HEARTBEAT_SECONDS = 10.0
#: The step of a large network; a training yields at the end of a step.
STEP_SECONDS = 1.0
#: The device time that a yield may cost at most: checkpoint, claim, load, compile.
SWITCH_SECONDS = 3.0
HOUR = 3600.0
HEAVY, LIGHT, BURSTY = 3, 21, 5
FLOOD_JOBS, FLOOD_SECONDS = 1000, 480.0
#: The queued or running jobs of a heavy user: more than there are devices for them.
HEAVY_JOBS = 12


@dataclass
class Day:
    """The results of a day.

    Attributes:
        shares: The share of each user; 1 for users that are not listed.
        served: Device-seconds per user.
        lag_seconds: The largest lag of an always busy user behind their share.
        light_waits: The wait of each job of a light user, less what light users ran meanwhile.
        idle_seconds: Device time that was idle while a runnable job waited.
        switch_seconds: Device time spent on switching.
        busy_seconds: All device time that was used, switching included.
    """

    shares: Mapping[str, float]
    served: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lag_seconds: float = 0.0
    light_waits: list[float] = field(default_factory=list)
    idle_seconds: float = 0.0
    switch_seconds: float = 0.0
    busy_seconds: float = 0.0
    yields: int = 0

    def light_seconds(self) -> float:
        """Sum the device-seconds of the light users."""
        return sum(self.served[f"light{number}"] for number in range(LIGHT))

    def share_error(self) -> float:
        """Return the largest relative deviation of an always busy user from their share."""
        parts = self.parts()
        return max(abs(self.served[user] - part) / part for user, part in parts.items())

    def parts(self) -> dict[str, float]:
        """Divide what the always busy users were served by their shares."""
        shares = {user: self.shares.get(user, 1.0) for user in always_busy()}
        together = sum(self.served[user] for user in shares)
        return {user: together * share / sum(shares.values()) for user, share in shares.items()}


def always_busy() -> list[str]:
    """List the users who have work all day."""
    return [*(f"heavy{n}" for n in range(HEAVY)), "flood"]


def arrivals(hours: float, rng: random.Random) -> Iterator[tuple[float, list[Job]]]:
    """Yield the jobs of light and bursty users, and the flood; heavy users resubmit at each end."""
    yield 0.0, [Job("flood", FLOOD_SECONDS, 0.0) for _ in range(FLOOD_JOBS)]
    for number in range(LIGHT):
        at = rng.uniform(0, 4 * HOUR)
        while at < hours * HOUR:
            yield at, [Job(f"light{number}", rng.uniform(30, 120), at)]
            at += rng.expovariate(1 / (4 * HOUR))
    for number in range(BURSTY):
        for _ in range(2):
            at = rng.uniform(0, 24) * HOUR
            if at < hours * HOUR:
                yield at, [Job(f"bursty{number}", 300.0, at) for _ in range(5)]


class Simulation:
    """A day with one policy."""

    def __init__(
        self,
        policy: Policy,
        devices: int,
        hours: float,
        clock: SimulatedClock,
        shares: Mapping[str, float] = EQUAL,
    ) -> None:
        self._policy, self._devices, self._end, self._clock = policy, devices, hours * HOUR, clock
        self._rng = random.Random(11)
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()
        self._running: dict[int, tuple[Job, float, int]] = {}
        self._waiting: dict[int, Job] = {}
        self._day = Day(shares)

    def run(self) -> Day:
        """Simulate the day."""
        for at, jobs in arrivals(self._end / HOUR, random.Random(7)):
            self._at(at, self._on_arrival, jobs)
        for number in range(HEAVY):
            self._at(
                0.0, self._on_arrival, [self._heavy(f"heavy{number}") for _ in range(HEAVY_JOBS)]
            )
        while self._events and self._events[0][0] <= self._end:
            now, _, happens, what = heappop(self._events)
            self._pass(now)
            happens(what)
            # All events of a moment happen before any job starts.
            if not self._events or self._events[0][0] > now:
                self._serve()
        self._pass(self._end)
        # A job that never started has waited until now.
        for job in self._waiting.values():
            if job.user.startswith("light") and job.first_start is None:
                self._note_wait(job, self._end)
        return self._day

    def _heavy(self, user: str) -> Job:
        return Job(user, self._rng.uniform(0.5, 8) * HOUR, self._clock.seconds)

    def _at(self, when: float, happens: Callable[[Any], None], what: object) -> None:
        heappush(self._events, (when, next(self._numbers), happens, what))

    def _pass(self, now: float) -> None:
        """Advance the clock: account for the devices' work and the users' lag."""
        day, before = self._day, self._clock.seconds
        for job, since, _ in self._running.values():
            worked = max(0.0, now - max(since, before))
            job.left -= worked
            day.served[job.user] += worked
            day.busy_seconds += worked
        self._clock.seconds = now
        behind = max(part - day.served[user] for user, part in day.parts().items())
        day.lag_seconds = max(day.lag_seconds, behind)
        if self._may_start():
            day.idle_seconds += (self._devices - len(self._running)) * (now - before)

    def _may_start(self) -> bool:
        held: defaultdict[str, int] = defaultdict(int)
        for job, _, _ in self._running.values():
            held[job.user] += 1
        return any(held[job.user] < MAX_RUNNING for job in self._waiting.values())

    def _on_arrival(self, jobs: list[Job]) -> None:
        self._policy.submit(jobs)
        for job in jobs:
            if job.user.startswith("light"):
                job.light_before = self._day.light_seconds()
            self._waiting[id(job)] = job

    def _on_beat(self, what: tuple[int, int]) -> None:
        device, turn = what
        job, _, current = self._running.get(device, (None, 0.0, -1))
        if job is None or current != turn or job.left <= STEP_SECONDS:
            return
        if self._waiting and self._policy.must_yield(job):
            self._at(self._clock.seconds + STEP_SECONDS, self._on_yield, what)
        else:
            self._at(self._clock.seconds + HEARTBEAT_SECONDS, self._on_beat, what)

    def _on_yield(self, what: tuple[int, int]) -> None:
        job = self._leave(*what)
        if job is not None:
            self._policy.give_back(job)
            self._waiting[id(job)] = job
            self._day.yields += 1
            self._day.switch_seconds += SWITCH_SECONDS
            self._day.busy_seconds += SWITCH_SECONDS

    def _on_end(self, what: tuple[int, int]) -> None:
        job = self._leave(*what)
        if job is None:
            return
        self._policy.done(job)
        if job.user.startswith("heavy"):
            self._on_arrival([self._heavy(job.user)])

    def _leave(self, device: int, turn: int) -> Job | None:
        job, _, current = self._running.get(device, (None, 0.0, -1))
        if job is None or current != turn:
            return None
        del self._running[device]
        return job

    def _serve(self) -> None:
        for device in range(self._devices):
            if device in self._running or not self._waiting:
                continue
            job = self._policy.take(device)
            if job is None:
                return
            now = self._clock.seconds
            if job.first_start is None:
                job.first_start = now
                if job.user.startswith("light"):
                    self._note_wait(job, now)
            del self._waiting[id(job)]
            turn = next(self._numbers)
            # A job that was interrupted costs a switch first.
            since = now + (SWITCH_SECONDS if job.left < job.seconds else 0.0)
            self._running[device] = (job, since, turn)
            self._at(since + job.left, self._on_end, (device, turn))
            # Heartbeats are not aligned with jobs: the first after the quantum may be late.
            late = self._rng.uniform(0, HEARTBEAT_SECONDS)
            self._at(now + QUANTUM_SECONDS + late, self._on_beat, (device, turn))

    def _note_wait(self, job: Job, now: float) -> None:
        """Note a light user's wait, less the time that light users before it were served."""
        ahead_seconds = (self._day.light_seconds() - job.light_before) / self._devices
        self._day.light_waits.append(now - job.arrived - ahead_seconds)
