"""Commit, then wake: a woken worker finds the job."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import redis
from sqlalchemy import Connection, event, select

from shared import broker
from shared.database import reading
from shared.tables import Job, Kind
from tests.api.harness import ApiHarness, Person
from tests.services.postgres import PostgresServer
from tests.services.waiting import until

GAP_SECONDS = 0.3
#: Less than a user may have in the line.
ENOUGH = 4


@pytest.fixture
def slow_commit(harness: ApiHarness) -> Iterator[None]:
    """Delay every commit after the last statement of its transaction."""

    def wait(_connection: Connection) -> None:
        time.sleep(GAP_SECONDS)

    event.listen(harness.engine, "commit", wait)
    yield
    event.remove(harness.engine, "commit", wait)


@pytest.mark.usefixtures("slow_commit")
def test_a_woken_worker_finds_the_job(harness: ApiHarness, ann: Person, redis_url: str) -> None:
    corpus = ann.upload()
    client = redis.Redis.from_url(broker.redis_url(redis_url), socket_timeout=30)

    def hear() -> list[str]:
        assert client.brpop(["train"], timeout=20) is not None
        with reading(harness.engine) as connection:
            return list(connection.scalars(select(Job.status)))

    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(hear)
        ann.train(corpus)
        assert heard.result() == ["queued"]
    client.close()


@pytest.mark.usefixtures("slow_commit")
def test_a_woken_worker_finds_the_text(harness: ApiHarness, ann: Person, redis_url: str) -> None:
    model = harness.model(ann)["id"]
    client = redis.Redis.from_url(broker.redis_url(redis_url), socket_timeout=30)
    client.delete("generate")

    def hear() -> list[str]:
        assert client.brpop(["generate"], timeout=20) is not None
        with reading(harness.engine) as connection:
            return list(connection.scalars(select(Job.status).where(Job.kind == "generate")))

    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(hear)
        ann.post("/v1/generate", {"model": model, "length": 5})
        assert heard.result() == ["queued"]
    client.close()


def test_a_database_lost_after_the_commit_does_not_revoke_the_202(
    harness: ApiHarness,
    ann: Person,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if harness.engine.dialect.name != "postgresql":
        pytest.skip("SQLite goes with its process alone")
    corpus = ann.upload()
    name = harness.engine.url.database
    wake_soon = broker.Broker.wake_soon

    def lose_the_database(self: broker.Broker, kind: Kind, *job_ids: str) -> None:
        wake_soon(self, kind, *job_ids)
        with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    monkeypatch.setattr(broker.Broker, "wake_soon", lose_the_database)
    job = ann.train(corpus)
    assert job["status"] == "queued"
    assert "queue" not in job
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert ann.get(f"/v1/jobs/{job['id']}").json["status"] == "queued"


def test_a_flood_of_jobs_sends_a_bounded_number_of_wakes(
    harness: ApiHarness, ann: Person, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "MAX_WAITING_WAKES", ENOUGH)
    model = harness.model(ann)["id"]
    with redis.Redis.from_url(broker.redis_url(redis_url)) as client:
        client.delete("generate")
        count = ENOUGH + 3
        for _ in range(count):
            ann.post("/v1/generate", {"model": model, "length": 5})
        until(lambda: client.llen("generate") == ENOUGH, "the wakes")
        # Somebody has taken one: the next submission says it again.
        client.rpop("generate")
        last = ann.post("/v1/generate", {"model": model, "length": 5}).json["id"]
        until(lambda: last.encode() in b"".join(client.lrange("generate", 0, -1)), "its wake")
        assert client.llen("generate") == ENOUGH
    assert len(ann.items("/v1/jobs?kind=generate&status=queued&limit=100")) == count + 1
