"""The intended behaviour of the queue, in memory: `test_state_machine.py` compares the real one."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from shared.queue.types import Claim
from shared.settings import Settings
from shared.tables import TERMINAL_STATUSES, Kind


@dataclass
class ReferenceJob:
    """A job of the reference queue."""

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
    promoted_at: datetime | None = None
    cancel: bool = False
    pause: bool = False
    texts: int = 0

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @property
    def runnable(self) -> bool:
        return self.status == "queued" and self.after is None


class ReferenceQueue:
    """Jobs by id, and what their users were served; the caller passes the time."""

    def __init__(self, settings: Settings, users: Sequence[str]) -> None:
        self.settings, self.users = settings, users
        self.jobs: dict[str, ReferenceJob] = {}
        self._served: defaultdict[str, float] = defaultdict(float)
        self._served_at: dict[str, datetime] = {}

    # -- the policy ---------------------------------------------------------------------------

    def next(
        self, kind: Kind, limit: int, now: datetime, *, busy: bool = False
    ) -> list[ReferenceJob]:
        """Return the jobs a claim takes: promoted ones, then then by service, then by age.

        Args:
            kind: ``train`` or ``generate``.
            limit: The most jobs; each is charged its share of a quantum.
            now: The time.
            busy: Whether the worker runs other jobs already.
        """
        charge = self.settings.quantum_seconds / limit
        weights = {user: self._weight(user, now) for user in self.users}
        running = Counter(j.user for j in self.running("train") if kind == "train")
        picked: list[ReferenceJob] = []

        def claimable() -> list[ReferenceJob]:
            cap = self.settings.max_running_per_user
            return [
                job
                for job in self.jobs.values()
                if job.kind == kind
                and job.runnable
                and job not in picked
                and (kind != "train" or running[job.user] < cap)
            ]

        while len(picked) < limit and (left := claimable()):
            promoted = [job for job in left if job.promoted_at is not None]
            if promoted:
                job = min(promoted, key=lambda job: (job.promoted_at, job.id))
            else:
                best = {user: _best([j for j in left if j.user == user]) for user in self.users}
                job = min(
                    (job for job in best.values() if job is not None),
                    key=lambda job: (weights[job.user], job.id),
                )
            picked.append(job)
            weights[job.user] += charge
            running[job.user] += 1
        if picked and picked[0].alone:
            return [] if busy else picked[:1]
        return list(takewhile(lambda job: not job.alone, picked))

    def running(self, kind: Kind, worker: str | None = None) -> list[ReferenceJob]:
        """Return the running jobs, of all workers or of one."""
        return [
            job
            for job in self.jobs.values()
            if job.kind == kind and job.status == "running" and worker in (None, job.worker)
        ]

    # -- transitions --------------------------------------------------------------------------

    def claim(self, claims: Sequence[Claim], now: datetime) -> None:
        """Record claims."""
        charged: defaultdict[str, float] = defaultdict(float)
        for claim in claims:
            job = self.jobs[claim.job_id]
            assert (claim.attempt, claim.alone) == (job.attempt + 1, job.alone)
            job.status, job.attempt, job.fruitless = "running", claim.attempt, job.fruitless + 1
            job.worker, job.lease, job.claimed = claim.worker_id, self.lease(now), now
            job.charged = claim.charged_seconds
            charged[job.user] += job.charged
        self._post(charged, now)

    def release(self, job: ReferenceJob, now: datetime) -> None:
        """Return a job to the queue; the attempt does not count."""
        self._post({job.user: self._settled(job, now)}, now)
        self._return(job, uncounted=True)

    def end(self, job: ReferenceJob, status: str, now: datetime) -> None:
        """End a job."""
        if job.status == "running":
            self._post({job.user: self._settled(job, now)}, now)
        self._end(job, status)

    def rescue(self, now: datetime) -> set[str]:
        """Take jobs whose lease has expired from their workers, and return their ids."""
        lost = [job for job in self.jobs.values() if job.lease is not None and job.lease < now]
        half = now + timedelta(seconds=self.settings.lease_seconds / 2)
        stale = [job for job in self.running("generate") if job.lease and job.lease < half]
        in_batch = Counter(job.worker for job in stale)
        settled: defaultdict[str, float] = defaultdict(float)
        lost_batches = set()
        for job in sorted(lost, key=lambda job: job.id):
            settled[job.user] += self._settled(job, now, rescued=True)
            if job.kind == "generate" and in_batch[job.worker] > 1 and not job.alone:
                lost_batches.add(job.worker)
                job.alone = True
                self._return(job, uncounted=True)
            elif job.fruitless >= self.settings.max_attempts and not job.cancel:
                self._end(job, "failed")
            else:
                self._return(job, uncounted=False)
        for job in stale:
            if job.status == "running" and job.worker in lost_batches and not job.alone:
                job.alone, job.fruitless = True, max(0, job.fruitless - 1)
        self._post(settled, now)
        return {job.id for job in lost}

    def lease(self, now: datetime) -> datetime:
        """When a lease expires that is taken or renewed now."""
        return now + timedelta(seconds=self.settings.lease_seconds)

    def _return(self, job: ReferenceJob, *, uncounted: bool) -> None:
        job.fruitless = max(0, job.fruitless - uncounted)
        if job.cancel:
            self._end(job, "cancelled")
        else:
            job.status = "paused" if job.pause else "queued"
        job.pause, job.lease = False, None

    def _end(self, job: ReferenceJob, status: str) -> None:
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
            max(0.0, _held_seconds(job, now) - job.charged)
            for job in self.running("train")
            if job.user == user
        ]
        return self._decayed(user, now) + sum(over)

    def _settled(self, job: ReferenceJob, now: datetime, *, rescued: bool = False) -> float:
        """The settlement of the charge; in a lost batch, what each job used is unknown."""
        held = _held_seconds(job, now)
        used = min(held, job.charged) if rescued and job.kind == "generate" else held
        return used - job.charged

    def _post(self, seconds: dict[str, float], now: datetime) -> None:
        for user, more in seconds.items():
            self._served[user] = max(0.0, self._decayed(user, now) + more)
            self._served_at[user] = now

    def _decayed(self, user: str, now: datetime) -> float:
        age = (now - self._served_at.get(user, now)).total_seconds()
        return float(self._served[user] * 0.5 ** (age / self.settings.half_life_seconds))


def _held_seconds(job: ReferenceJob, now: datetime) -> float:
    assert job.claimed is not None
    return (now - job.claimed).total_seconds()


def _best(jobs: list[ReferenceJob]) -> ReferenceJob | None:
    return min(jobs, key=lambda job: (job.priority, job.id), default=None)
