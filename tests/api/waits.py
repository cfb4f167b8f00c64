"""Requests that wait for jobs, which a test ends as a worker does."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.app import create_app
from api.services import EXTENSION, Services
from shared.broker import Broker
from shared.database import make_engine, make_sessions
from shared.job_ends import JobEndPublisher
from shared.queue import Queue
from shared.queue.types import Claim, JobEnd, StoredText
from shared.tables import GeneratedText, Job
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person, record
from tests.services.redis import RedisServer, redis_server
from tests.services.waiting import until

CROWD = 64


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, to be stopped and wiped."""
    with redis_server() as server:
        yield server


@pytest.fixture
def crowd(database_url: str, server: RedisServer, tmp_path: Path) -> Iterator[ApiHarness]:
    """An API on that server, which lets a crowd wait."""
    settings = settings_for(database_url, server.url, tmp_path).model_copy(
        update={"wait_slots": 256, "wait_max_seconds": 60.0, "max_queued_per_user": 1000}
    )
    engine = make_engine(settings.database, settings.api_threads)
    app = create_app(settings, engine, Broker(settings.broker))
    yield ApiHarness(app, engine, Queue(engine, settings))
    engine.dispose()


@contextmanager
def waiting(
    harness: ApiHarness,
    person: Person,
    body: dict[str, Any],
    count: int = 1,
    prefer: str = "wait=30",
) -> Iterator[list[Future[Any]]]:
    """Send requests that wait, and go on once their jobs are queued."""
    before = len(queued(harness))

    def ask(_number: int) -> Any:
        one = Person(harness.app.test_client(), person.name, person.key)
        return one.post("/v1/generate", body, headers={"Prefer": prefer})

    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(ask, number) for number in range(count)]
        until(lambda: len(queued(harness)) == before + count, "the jobs are queued")
        yield futures


def queued(harness: ApiHarness) -> list[str]:
    with make_sessions(harness.engine, read_only=True)() as session:
        found = session.scalars(
            select(Job.id).where(Job.kind == "generate", Job.status == "queued")
        )
        return list(found)


def services(harness: ApiHarness) -> Services:
    found: Services = harness.app.extensions[EXTENSION]
    return found


def hears(harness: ApiHarness) -> None:
    until(lambda: services(harness).job_ends.is_listening, "the API hears of ends")


def stored(harness: ApiHarness, job_id: str) -> list[StoredText]:
    """Read a job's texts as the worker that inserted them knows them."""
    with make_sessions(harness.engine)() as session:
        rows = session.execute(
            select(*GeneratedText.__table__.columns)
            .where(GeneratedText.job_id == job_id)
            .order_by(GeneratedText.position)
        )
        return [StoredText(**row._asdict()) for row in rows]


def claim(harness: ApiHarness) -> list[Claim]:
    claims: list[Claim] = []
    while found := harness.queue.claim("generate", "host/cpu/generate", 100):
        claims += found
    return claims


def finish(harness: ApiHarness, claims: Sequence[Claim], *texts: str) -> None:
    """End jobs as a worker does, without publishing it."""
    records = [
        record(
            number,
            text,
            one.checkpoint_id,
            copied_characters=3,
            copied_at=1,
            copied_from=5,
            known_grams=0.5,
            mean_logprob=-1 / 3,
            bits_per_char=2 / 3,
            logprobs=[-0.25, -1.5],
        )
        for one in claims[:1]
        for number, text in enumerate(texts or ("a text",))
    ]
    for one in claims:
        harness.queue.succeed(one, records)


def publish(harness: ApiHarness, *ends: JobEnd) -> None:
    publisher = JobEndPublisher(services(harness).settings.broker)
    publisher.publish(ends)
    publisher.flush()


def stored_of(claim: Claim, text: str) -> list[StoredText]:
    return [
        StoredText(
            **asdict(record(0, text, None)),
            id="00000000-0000-7000-8000-000000000000",
            job_id=claim.job_id,
            user_id=claim.user_id,
            model_id=claim.model_id,
            created_at=claim.claimed_at,
        )
    ]
