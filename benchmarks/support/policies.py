"""The scheduling policies of a simulated day: the real queue, or plain Celery's FIFO list."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, Engine

from shared import accounts, blobs
from shared.database import make_sessions
from shared.queue import Queue
from shared.queue.types import Claim, Submission
from shared.settings import Settings
from shared.tables import Corpus, Model

QUANTUM_SECONDS = 300.0
MAX_RUNNING = 8
MAX_QUEUED = 2000
#: Workers do not die here, and send heartbeats only when they may have to yield.
LEASE_SECONDS = 7 * 24 * 3600.0
#: All users have the same share of the devices.
EQUAL: Mapping[str, float] = {}


@dataclass
class Job:
    """A simulated training, with its remaining time."""

    user: str
    seconds: float
    arrived: float
    id: str = ""
    left: float = 0.0
    light_before: float = 0.0
    first_start: float | None = None
    claim: Claim | None = None

    def __post_init__(self) -> None:
        self.left = self.seconds


class Policy(Protocol):
    """Decides which job runs next."""

    def submit(self, jobs: list[Job]) -> None:
        """Queue jobs."""

    def take(self, device: int) -> Job | None:
        """Return the next job for a device."""

    def must_yield(self, job: Job) -> bool:
        """Whether a running job must give its device back; called at heartbeats."""

    def give_back(self, job: Job) -> None:
        """Queue a job again that has yielded."""

    def done(self, job: Job) -> None:
        """Note the end of a job."""


class Fifo:
    """Plain Celery: first come, first served, each to its end."""

    def __init__(self) -> None:
        self._line: deque[Job] = deque()

    def submit(self, jobs: list[Job]) -> None:
        """Append jobs to the queue."""
        self._line.extend(jobs)

    def take(self, device: int) -> Job | None:
        """Return the oldest job."""
        return self._line.popleft() if self._line else None

    def must_yield(self, job: Job) -> bool:
        """Return False: jobs run to their end."""
        return False

    def give_back(self, job: Job) -> None:
        """Fail: it is never called."""
        raise AssertionError(job)

    def done(self, job: Job) -> None:
        """Do nothing."""


class SimulatedClock:
    """The queue's clock, moved by the simulation."""

    def __init__(self) -> None:
        self.start = datetime(2026, 1, 5, tzinfo=UTC)
        self.seconds = 0.0

    def __call__(self, _connection: Connection) -> datetime:
        """The simulated time."""
        return self.start + timedelta(seconds=self.seconds)


class RealQueue:
    """Quire's own queue on a database; only its clock is not real."""

    def __init__(
        self, engine: Engine, clock: SimulatedClock, shares: Mapping[str, float] = EQUAL
    ) -> None:
        settings = Settings(
            quantum_seconds=QUANTUM_SECONDS,
            max_running_per_user=MAX_RUNNING,
            max_queued_per_user=MAX_QUEUED,
            lease_seconds=LEASE_SECONDS,
        )
        self.queue = Queue(engine, settings, clock)
        self._engine = engine
        self._shares = shares
        self._jobs: dict[str, Job] = {}
        self._users: dict[str, str] = {}
        self._model, self._corpus = make_model(engine)

    def submit(self, jobs: list[Job]) -> None:
        """Through `Queue.submit`, all in one transaction."""
        users = [self._user(job.user) for job in jobs]
        with self._engine.begin() as connection:
            for job, user_id in zip(jobs, users, strict=True):
                submission = Submission("train", user_id, job.user, {}, self._model, self._corpus)
                job.id = self.queue.submit(connection, submission).id
                self._jobs[job.id] = job

    def take(self, device: int) -> Job | None:
        """Through `Queue.claim`."""
        claims = self.queue.claim("train", f"host/gpu:{device}/train")
        if not claims:
            return None
        job = self._jobs[claims[0].job_id]
        job.claim = claims[0]
        return job

    def must_yield(self, job: Job) -> bool:
        """Through `Queue.heartbeat`."""
        assert job.claim is not None
        return self.queue.heartbeat(job.claim).yield_

    def give_back(self, job: Job) -> None:
        """Through `Queue.release`."""
        assert job.claim is not None
        self.queue.release(job.claim, "yielded")

    def done(self, job: Job) -> None:
        """Through `Queue.succeed`."""
        assert job.claim is not None
        self.queue.succeed(job.claim)

    def _user(self, name: str) -> str:
        if name not in self._users:
            with make_sessions(self._engine).begin() as session:
                user = accounts.create_user(session, name)
                user.share = self._shares.get(name, 1.0)
                self._users[name] = user.id
        return self._users[name]


def make_model(engine: Engine) -> tuple[str, str]:
    """Create a model and a corpus for the jobs; return their ids."""
    sha256 = blobs.store(engine, b"text")
    now = datetime.now(UTC)
    with make_sessions(engine).begin() as session:
        owner = accounts.create_user(session, "owner")
        session.flush()
        corpus = Corpus(
            user_id=owner.id,
            name="text",
            sha256=sha256,
            encoding="utf-8",
            bytes=4,
            characters=4,
            alphabet="etx",
            alphabet_lowercase="etx",
            distinct_characters=3,
            created_at=now,
        )
        session.add(corpus)
        session.flush()
        model = Model(
            user_id=owner.id,
            name="model",
            corpus_id=corpus.id,
            spec={},
            vocabulary="etx",
            vocabulary_size=3,
            created_at=now,
        )
        session.add(model)
        session.flush()
        return model.id, corpus.id
