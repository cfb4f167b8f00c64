"""A queue on a fresh database of each kind, with users, a model and a clock that tests move."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, update

from shared import accounts, blobs
from shared.database import make_engine, make_sessions
from shared.queue import Queue
from shared.queue.types import Claim, Submission
from shared.settings import Settings
from shared.tables import Corpus, Job, JobEvent, Kind, Model, User

WORKER = "host/cpu/train"


class TestClock:
    """A clock that moves only when told to."""

    __test__ = False

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self, _connection: Connection) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class QueueHarness:
    """A queue with the users, the model and the corpus of its jobs."""

    engine: Engine
    queue: Queue
    clock: TestClock
    settings: Settings
    users: dict[str, str]
    model_id: str
    corpus_id: str

    def submit(
        self,
        user: str = "ada",
        kind: Kind = "train",
        count: int = 1,
        priority: int = 0,
        **options: Any,
    ) -> list[str]:
        """Submit jobs and return their ids; `options` are further fields of the submission."""
        user_id = self.user(user)
        with self.engine.begin() as connection:
            return [
                self.queue.submit(
                    connection,
                    Submission(
                        kind,
                        user_id,
                        f"{user}'s job",
                        {"epochs": 1} if kind == "train" else {"checkpoint": "best"},
                        self.model_id,
                        self.corpus_id,
                        priority,
                        **options,
                    ),
                ).id
                for _ in range(count)
            ]

    def user(self, name: str) -> str:
        """Return the id of a user, creating the user if needed."""
        if name not in self.users:
            with make_sessions(self.engine).begin() as session:
                self.users[name] = accounts.create_user(session, name).id
        return self.users[name]

    def claim(self, kind: Kind = "train", limit: int = 1) -> list[Claim]:
        """Claim as one worker."""
        return self.queue.claim(kind, WORKER, limit)

    def pause(self, job_id: str) -> str:
        """Pause in a transaction of its own."""
        with self.engine.begin() as connection:
            return self.queue.pause(connection, job_id)

    def resume(self, job_id: str) -> str:
        """Resume in a transaction of its own."""
        with self.engine.begin() as connection:
            return self.queue.resume(connection, job_id)

    def promote(self, job_id: str) -> str:
        """Promote in a transaction of its own."""
        with self.engine.begin() as connection:
            return self.queue.promote(connection, job_id)

    def change(self, user: str, **values: object) -> None:
        """Change a user's row, as an admin does."""
        user_id = self.user(user)
        with self.engine.begin() as connection:
            connection.execute(update(User).where(User.id == user_id).values(**values))

    def row(self, user: str) -> Any:
        """Read a user's row."""
        with make_sessions(self.engine)() as session:
            return session.get_one(User, self.users[user])

    def events(self, job_id: str) -> list[str]:
        """Read the types of a job's events, in order."""
        with self.engine.connect() as connection:
            query = select(JobEvent.type).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
            return list(connection.scalars(query))

    def job(self, job_id: str) -> Job:
        """Read a job's row."""
        with make_sessions(self.engine)() as session:
            return session.scalars(select(Job).where(Job.id == job_id)).one()

    def cancel(self, job_id: str) -> str:
        """Cancel in a transaction of its own."""
        with self.engine.begin() as connection:
            return self.queue.cancel(connection, job_id)


@pytest.fixture
def settings() -> Settings:
    return Settings(lease_seconds=60, heartbeat_seconds=10, max_running_per_user=2)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def harness(engine: Engine, settings: Settings) -> QueueHarness:
    clock = TestClock()
    sha256 = blobs.store(engine, b"some text")
    with make_sessions(engine).begin() as session:
        owner = accounts.create_user(session, "ada")
        session.flush()
        corpus = Corpus(
            user_id=owner.id,
            name="text",
            sha256=sha256,
            encoding="utf-8",
            bytes=9,
            characters=9,
            alphabet=" emostx",
            alphabet_lowercase=" emostx",
            distinct_characters=7,
            created_at=clock.now,
        )
        session.add(corpus)
        session.flush()
        model = Model(
            user_id=owner.id,
            name="model",
            corpus_id=corpus.id,
            spec={},
            vocabulary=" emostx",
            vocabulary_size=7,
            created_at=clock.now,
        )
        session.add(model)
        session.flush()
        ids = owner.id, model.id, corpus.id
    return QueueHarness(
        engine, Queue(engine, settings, clock), clock, settings, {"ada": ids[0]}, ids[1], ids[2]
    )


@pytest.fixture
def expired(harness: QueueHarness) -> Callable[[], Claim]:
    """Make a claim whose lease has expired and whose job another attempt has claimed since."""

    def make() -> Claim:
        harness.submit()
        [old] = harness.claim()
        harness.clock.move(harness.settings.lease_seconds + 1)
        harness.queue.rescue()
        [new] = harness.claim()
        assert new.job_id == old.job_id
        assert new.attempt == old.attempt + 1
        return old

    return make
