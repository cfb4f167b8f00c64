"""Grouped submissions of real API processes: one is killed at its commit, two share a cap."""

import asyncio
import json
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine, func, select, text, update

from api.app import create_app
from shared.broker import Broker
from shared.database import make_engine, make_sessions
from shared.job_ends import JobEndPublisher
from shared.queue import Queue
from shared.queue.types import JobEnd
from shared.tables import IdempotencyKey, Job, User
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness
from tests.api.test_server import address, process
from tests.services.waiting import until

REQUESTS = 12
#: Statements that make the next insert into `job_events` take minutes: a transaction is stopped
#: between its jobs and its commit.
SLOW_EVENTS = {
    "sqlite": (
        "CREATE TRIGGER slow_events AFTER INSERT ON job_events BEGIN SELECT ("
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000000) "
        "SELECT count(*) FROM n); END",
    ),
    "postgresql": (
        "CREATE FUNCTION wait_minutes() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(300); RETURN NEW; END $$",
        "CREATE TRIGGER slow_events BEFORE INSERT ON job_events "
        "FOR EACH ROW EXECUTE FUNCTION wait_minutes()",
    ),
}
FAST_EVENTS = {
    "sqlite": ("DROP TRIGGER slow_events",),
    "postgresql": ("DROP TRIGGER slow_events ON job_events",),
}


@pytest.fixture
def environment(settings_env: dict[str, str]) -> dict[str, str]:
    return {**settings_env, "QUIRE_WAIT_MAX_SECONDS": "60", "QUIRE_MAX_QUEUED_PER_USER": "1000"}


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[ApiHarness]:
    """An API in this process that makes users and models, on the database of the processes."""
    settings = settings_for(database_url, redis_url, tmp_path)
    engine = make_engine(database_url)
    yield ApiHarness(
        create_app(settings, engine, Broker(redis_url)), engine, Queue(engine, settings)
    )
    engine.dispose()


def execute(engine: Engine, statements: tuple[str, ...]) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def count(engine: Engine, table: type, *conditions: Any) -> int:
    with make_sessions(engine, read_only=True)() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


async def ask_all(
    url: str, key: str, bodies: list[dict[str, Any]], **headers: str
) -> list[httpx2.Response | httpx2.HTTPError]:
    """Send requests at the same time, each on a connection of its own."""
    headers = {"Authorization": f"Bearer {key}", **headers}
    limits = httpx2.Limits(max_connections=len(bodies))
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, trust_env=False, timeout=90, limits=limits
    ) as client:

        async def ask(number: int, body: dict[str, Any]) -> httpx2.Response | httpx2.HTTPError:
            once = {"Idempotency-Key": f"k{number}"} if "Prefer" in headers else {}
            try:
                return await client.post("/v1/generate", json=body, headers=once)
            except httpx2.HTTPError as error:
                return error

        return await asyncio.gather(*(ask(*one) for one in enumerate(bodies)))


@contextmanager
def killed_while_asked(
    environment: dict[str, str], key: str, bodies: list[dict[str, Any]]
) -> Iterator[subprocess.Popen[str]]:
    """Ask a server, which is killed at the end of the block; nobody gets an answer."""
    with process(environment, "--port", "0") as server:
        url = address(server)
        asking = asyncio.new_event_loop()
        try:
            with ThreadPoolExecutor(1) as threads:
                future = threads.submit(
                    asking.run_until_complete, ask_all(url, key, bodies, Prefer="wait=50")
                )
                yield server
                server.send_signal(signal.SIGKILL)
                server.wait()
                answers = future.result(60)
            assert all(isinstance(answer, httpx2.HTTPError) for answer in answers), answers
        finally:
            asking.close()


def ask_again(
    environment: dict[str, str], key: str, bodies: list[dict[str, Any]]
) -> list[httpx2.Response]:
    """Send the same requests with the same keys to a new server."""
    with process(environment, "--port", "0") as server:
        answers = asyncio.run(ask_all(address(server), key, bodies, Prefer="wait=1"))
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert all(isinstance(answer, httpx2.Response) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, httpx2.Response)]


def test_a_leader_that_dies_before_its_commit_leaves_nothing(
    environment: dict[str, str], harness: ApiHarness
) -> None:
    ann = harness.person("ann")
    model, dialect = harness.model(ann)["id"], harness.engine.dialect.name
    bodies = [{"model": model, "prompt": "It ", "length": 5, "seed": n} for n in range(REQUESTS)]
    execute(harness.engine, SLOW_EVENTS[dialect])
    with killed_while_asked(environment, ann.key, bodies):
        until(lambda: stopped_in_its_transaction(harness.engine), "the transaction is stopped")
    if dialect == "postgresql":
        end_other_sessions(harness.engine)
    execute(harness.engine, FAST_EVENTS[dialect])
    assert count(harness.engine, Job, Job.kind == "generate") == 0
    assert count(harness.engine, IdempotencyKey) == 0
    answers = ask_again(environment, ann.key, bodies)
    assert Counter(answer.status_code for answer in answers) == {202: REQUESTS}
    assert count(harness.engine, Job, Job.kind == "generate") == REQUESTS


def stopped_in_its_transaction(engine: Engine) -> bool:
    """Whether another process holds the transaction that inserts events."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            return bool(connection.execute(text(sleeping)).scalar())
    impatient = make_engine(f"{engine.url.render_as_string(hide_password=False)}?timeout=0.3")
    try:
        with impatient.begin():
            return False
    except Exception as error:
        return "locked" in str(error)
    finally:
        impatient.dispose()


def end_other_sessions(engine: Engine) -> None:
    """Have the server notice that the client is gone, which it otherwise does after its sleep."""
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event = 'PgSleep'"
            )
        )


def test_what_a_leader_committed_before_it_died_is_found_again(
    environment: dict[str, str], harness: ApiHarness
) -> None:
    ann = harness.person("ann")
    model = harness.model(ann)["id"]
    bodies = [{"model": model, "prompt": "It ", "length": 5, "seed": n} for n in range(REQUESTS)]
    of_kind = Job.kind == "generate"
    with killed_while_asked(environment, ann.key, bodies):
        until(lambda: count(harness.engine, Job, of_kind) == REQUESTS, "all are committed")
    with make_sessions(harness.engine)() as session:
        seeds = {job.spec["seed"]: job.id for job in session.scalars(select(Job).where(of_kind))}
    answers = ask_again(environment, ann.key, bodies)
    assert Counter(answer.status_code for answer in answers) == {202: REQUESTS}
    for seed, answer in enumerate(answers):
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert answer.json()["id"] == seeds[seed]
    assert count(harness.engine, Job, of_kind) == REQUESTS


def test_two_processes_share_a_users_cap(environment: dict[str, str], harness: ApiHarness) -> None:
    ann, bob = harness.person("ann"), harness.person("bob")
    model = harness.model(ann)["id"]
    ann.patch(f"/v1/models/{model}", {"visibility": "server"})
    with make_sessions(harness.engine).begin() as session:
        session.execute(update(User).where(User.name == "ann").values(max_queued=7))
    body = {"model": model, "prompt": "It ", "length": 5}
    with process(environment | {"QUIRE_API_PROCESSES": "2"}, "--port", "0") as server:
        url = address(server)

        async def ask() -> tuple[list[Any], list[Any]]:
            return await asyncio.gather(
                ask_all(url, ann.key, [body] * 40), ask_all(url, bob.key, [body] * 40)
            )

        of_ann, of_bob = asyncio.run(ask())
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert Counter(answer.status_code for answer in of_ann) == {202: 7, 429: 33}
    assert Counter(answer.status_code for answer in of_bob) == {202: 40}
    assert count(harness.engine, Job, Job.kind == "generate") == 47


def test_two_processes_hear_the_ends_of_their_own_requests(
    environment: dict[str, str], harness: ApiHarness, redis_url: str
) -> None:
    ann = harness.person("ann")
    body = {"model": harness.model(ann)["id"], "prompt": "It ", "length": 5}
    publisher = JobEndPublisher(redis_url)
    with process(environment | {"QUIRE_API_PROCESSES": "2"}, "--port", "0") as server:
        url = address(server)

        def work() -> None:
            done = 0
            while done < 40:
                for claim in harness.queue.claim("generate", "host/cpu/generate", 40):
                    harness.queue.succeed(claim)
                    publisher.publish([JobEnd(claim.job_id, claim.attempt)])
                    done += 1

        async def ask() -> list[Any]:
            asked = ask_all(url, ann.key, [body] * 40, Prefer="wait=50")
            answers, _ = await asyncio.gather(asked, asyncio.to_thread(work))
            return answers

        answers = asyncio.run(ask())
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert Counter(answer.status_code for answer in answers) == {200: 40}
    assert len({answer.json()["id"] for answer in answers}) == 40


def test_who_hangs_up_while_waiting_frees_the_seat_at_once(
    environment: dict[str, str], harness: ApiHarness
) -> None:
    ann = harness.person("ann")
    body = json.dumps({"model": harness.model(ann)["id"], "prompt": "It ", "length": 5})
    head = (
        "POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ann.key}\r\nPrefer: wait=%d\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    of_kind = Job.kind == "generate"
    with process(environment | {"QUIRE_WAIT_SLOTS": "1"}, "--port", "0") as server:
        port = int(address(server).rpartition(":")[2])

        def waits() -> bool:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall((head % 1).encode())
                return b"Preference-Applied: wait=1" in connection.recv(65536)

        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall((head % 60).encode())
            until(lambda: count(harness.engine, Job, of_kind) == 1, "the first one waits")
            assert not waits()
        until(waits, "the seat of who hung up is free", seconds=10)
        server.send_signal(signal.SIGTERM)
        server.wait(30)
