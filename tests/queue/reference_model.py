"""The queue as it is meant to be, in memory: what `test_machine.py` compares the real one with."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from shared.queue.types import Claim
from shared.settings import Settings
from shared.tables import TERMINAL_STATUSES, Kind


@dataclass
class Known:
    """What the model knows of a job."""

    id: str
    user: str
    kind: Kind
    priority: int
    after: str | None
    status: str = "queued"
    attempt: int = 0
    fruitless: int = 0
    alone: bool = False
    worker: str = ""
    lease: datetime | None = None
    claimed: datetime | None = None
    charged: float = 0.0
    lifted: datetime | None = None
    cancel: bool = False
    pause: bool = False
    texts: int = 0

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @property
    def runnable(self) -> bool:
        return self.status == "queued" and self.after is None


class Model:
    """Jobs by id, and what their users were served; the caller says what time it is."""

    def __init__(self, settings: Settings, users: Sequence[str]) -> None:
        self.settings, self.users = settings, users
        self.jobs: dict[str, Known] = {}
        self._served: defaultdict[str, float] = defaultdict(float)
        self._served_at: dict[str, datetime] = {}

    # -- who is next --------------------------------------------------------------------------

    def next(self, kind: Kind, limit: int, now: datetime, *, busy: bool = False) -> list[Known]:
        """Whom a claim takes: lifted jobs, then those of the least served, then first come.

        Args:
            kind: Of which kind.
            limit: How many at most; a device's quantum is divided among so many.
            now: The time.
            busy: Whether the worker runs something already.
        """
        charge = self.settings.quantum_seconds / limit
        weights = {user: self._weight(user, now) for user in self.users}
        running = Counter(j.user for j in self.running("train") if kind == "train")
        picked: list[Known] = []

        def free() -> list[Known]:
            cap = self.settings.max_running_per_user
            return [
                job
                for job in self.jobs.values()
                if job.kind == kind
                and job.runnable
                and job not in picked
                and (kind != "train" or running[job.user] < cap)
            ]

        while len(picked) < limit and (left := free()):
            lifted = [job for job in left if job.lifted is not None]
            if lifted:
                job = min(lifted, key=lambda job: (job.lifted, job.id))
            else:
                best = {user: _best([j for j in left if j.user == user]) for user in self.users}
                job = min(
                    (each for each in best.values() if each is not None),
                    key=lambda job: (weights[job.user], job.id),
                )
            picked.append(job)
            weights[job.user] += charge
            running[job.user] += 1
        if picked and picked[0].alone:
            return [] if busy else picked[:1]
        return list(takewhile(lambda job: not job.alone, picked))

    def running(self, kind: Kind, worker: str | None = None) -> list[Known]:
        """What runs, everywhere or on one worker."""
        return [
            job
            for job in self.jobs.values()
            if job.kind == kind and job.status == "running" and worker in (None, job.worker)
        ]

    # -- what happens to a job ----------------------------------------------------------------

    def claim(self, claims: Sequence[Claim], now: datetime) -> None:
        """Some were claimed."""
        charged: defaultdict[str, float] = defaultdict(float)
        for claim in claims:
            job = self.jobs[claim.job_id]
            assert (claim.attempt, claim.alone) == (job.attempt + 1, job.alone)
            job.status, job.attempt, job.fruitless = "running", claim.attempt, job.fruitless + 1
            job.worker, job.lease, job.claimed = claim.worker_id, self.lease(now), now
            job.charged = claim.charged_seconds
            charged[job.user] += job.charged
        self._post(charged, now)

    def put_down(self, job: Known, now: datetime) -> None:
        """One was given back unharmed."""
        self._post({job.user: self._settled(job, now)}, now)
        self._return(job, forgiven=True)

    def end(self, job: Known, status: str, now: datetime) -> None:
        """One has ended."""
        if job.status == "running":
            self._post({job.user: self._settled(job, now)}, now)
        self._end(job, status)

    def sweep(self, now: datetime) -> set[str]:
        """Those whose lease has run out are taken away: their ids."""
        lost = [job for job in self.jobs.values() if job.lease is not None and job.lease < now]
        half = now + timedelta(seconds=self.settings.lease_seconds / 2)
        silent = [job for job in self.running("generate") if job.lease and job.lease < half]
        beside = Counter(job.worker for job in silent)
        settled: defaultdict[str, float] = defaultdict(float)
        dead = set()
        for job in sorted(lost, key=lambda job: job.id):
            settled[job.user] += self._settled(job, now, rescued=True)
            if job.kind == "generate" and beside[job.worker] > 1 and not job.alone:
                dead.add(job.worker)
                job.alone = True
                self._return(job, forgiven=True)
            elif job.fruitless >= self.settings.max_attempts and not job.cancel:
                self._end(job, "failed")
            else:
                self._return(job, forgiven=False)
        for job in silent:
            if job.status == "running" and job.worker in dead and not job.alone:
                job.alone, job.fruitless = True, max(0, job.fruitless - 1)
        self._post(settled, now)
        return {job.id for job in lost}

    def lease(self, now: datetime) -> datetime:
        """Until when a job is held that is claimed or beaten for now."""
        return now + timedelta(seconds=self.settings.lease_seconds)

    def _return(self, job: Known, *, forgiven: bool) -> None:
        job.fruitless = max(0, job.fruitless - forgiven)
        if job.cancel:
            self._end(job, "cancelled")
        else:
            job.status = "paused" if job.pause else "queued"
        job.pause, job.lease = False, None

    def _end(self, job: Known, status: str) -> None:
        job.status, job.after, job.pause, job.lease = status, None, False, None
        for follower in self.jobs.values():
            if follower.after == job.id:
                if status == "succeeded":
                    follower.after = None
                else:
                    self._end(follower, "failed")

    # -- device time --------------------------------------------------------------------------

    def _weight(self, user: str, now: datetime) -> float:
        over = [
            max(0.0, _held(job, now) - job.charged)
            for job in self.running("train")
            if job.user == user
        ]
        return self._decayed(user, now) + sum(over)

    def _settled(self, job: Known, now: datetime, *, rescued: bool = False) -> float:
        """What replaces the charge; of a batch that died nobody knows what each used."""
        held = _held(job, now)
        used = min(held, job.charged) if rescued and job.kind == "generate" else held
        return used - job.charged

    def _post(self, seconds: dict[str, float], now: datetime) -> None:
        for user, more in seconds.items():
            self._served[user] = max(0.0, self._decayed(user, now) + more)
            self._served_at[user] = now

    def _decayed(self, user: str, now: datetime) -> float:
        age = (now - self._served_at.get(user, now)).total_seconds()
        return float(self._served[user] * 0.5 ** (age / self.settings.half_life_seconds))


def _held(job: Known, now: datetime) -> float:
    assert job.claimed is not None
    return (now - job.claimed).total_seconds()


def _best(jobs: list[Known]) -> Known | None:
    return min(jobs, key=lambda job: (job.priority, job.id), default=None)
