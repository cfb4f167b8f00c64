"""postgres: restarts at once, and drops connections in the middle of transactions."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select

from shared.tables import Job, Model
from tests.faults.conftest import Postmaster
from tests.faults.parts import Api, assert_consistent, digest, train, training
from tests.worker.harness import Worker, World, until

pytestmark = pytest.mark.slow

#: Rarely enough that a run gets on in between.
DROP_SECONDS = 1.0
DROPS = 8
DROP = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
)
#: Whoever waits for a lock of ours, and with which statement.
BLOCKED = (
    "SELECT pid, query FROM pg_stat_activity WHERE %(me)s = ANY(pg_blocking_pids(pid)) LIMIT 1"
)


def test_postgres_restarts(
    deprived: World,
    deprived_worker: Worker,
    api: Api,
    postmaster: Postmaster,
    undisturbed: Callable[[World], str],
) -> None:
    world, wanted = deprived, undisturbed(deprived)
    child = world.child("train")
    job_id = train(world)
    world.first_checkpoint(job_id)
    # What `pg_ctl stop -m immediate` sends.
    postmaster.process.send_signal(signal.SIGQUIT)
    postmaster.process.wait(20)
    try:
        for answer in (
            api.client.get("/v1/jobs"),
            api.client.post("/v1/train", json=training(world, 1)),
        ):
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["type"] == "/problems/database-unavailable"
            assert "Nothing was changed" in answer.json()["detail"]
        assert api.client.get("/health/live").status_code == 200
    finally:
        postmaster.stop()
        postmaster.start()
    until(lambda: api.client.get("/v1/jobs").status_code == 200, "an answer", 20)
    world.succeeded(job_id, seconds=90)
    assert digest(world, job_id) == wanted
    world.succeeded(api.submit(world))
    assert world.child("train") == child
    assert_consistent(world)


def test_postgres_drops_connections(deprived: World, deprived_worker: Worker, api: Api) -> None:
    world = deprived
    trained = api.submit(world)
    model_id = world.succeeded(trained).model_id
    assert model_id
    jobs = [train(world), *(world.generate(model_id, n=3) for _ in range(20))]
    with admin_of(world) as admin:
        for number in range(DROPS):
            admin.execute(DROP)
            # One that was dropped while it lay idle is not the asker's concern.
            assert api.client.get(f"/v1/jobs/{jobs[0]}").status_code in (200, 503)
            jobs.append(posted(api, world, f"drop-{number}").json()["id"])
            time.sleep(DROP_SECONDS)
    for job_id in jobs:
        world.succeeded(job_id, seconds=90)
    assert len(set(jobs)) == len(jobs)
    assert_consistent(world)


def test_postgres_drops_a_post_between_its_insert_and_its_commit(
    deprived: World, deprived_worker: Worker, api: Api
) -> None:
    world = deprived
    before = counts(world)
    key = {"Idempotency-Key": "dropped"}
    with ThreadPoolExecutor(1) as other, held_up(world, "job_events") as drop:
        # Its model and its job are inserted; the first line of its history is held up.
        asked = other.submit(api.client.post, "/v1/train", json=training(world, 1), headers=key)
        assert drop().startswith("INSERT INTO job_events")
        answer = asked.result(20)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["type"] == "/problems/database-unavailable"
    assert "Send it again with the same Idempotency-Key" in answer.json()["detail"]
    assert counts(world) == before
    # What the answer advises makes one job.
    again = api.client.post("/v1/train", json=training(world, 1), headers=key)
    assert again.status_code == 202
    assert counts(world) == [count + 1 for count in before]
    world.succeeded(again.json()["id"])


def test_postgres_drops_a_worker_between_its_last_write_and_its_commit(
    deprived: World, deprived_worker: Worker, api: Api
) -> None:
    world = deprived
    model_id = world.succeeded(api.submit(world)).model_id
    assert model_id
    with held_up(world, "texts") as drop:
        # The job has ended by then, for its worker alone; its texts are held up.
        job_id = world.generate(model_id, n=3)
        assert drop().startswith("INSERT INTO texts")
        assert world.job(job_id).status == "running"
    job = world.succeeded(job_id)
    assert job.attempt == world.count(job_id, "claimed") == world.count(job_id, "succeeded") == 1
    assert [text.position for text in world.texts(job_id)] == [0, 1, 2]
    assert_consistent(world)


@contextmanager
def admin_of(world: World) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own, whose every statement is a transaction."""
    url = world.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@contextmanager
def held_up(world: World, table: str) -> Iterator[Callable[[], str]]:
    """Nobody may write into a table until the block is left.

    Yields:
        Waits for whoever wants to, ends their connection, and gives what they were about to do.
    """
    with admin_of(world) as locker, admin_of(world) as admin, locker.transaction():
        locker.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(table)))
        me = {"me": locker.info.backend_pid}

        def drop() -> str:
            blocked = until(lambda: admin.execute(BLOCKED, me).fetchone(), "somebody who waits")
            pid, statement = blocked
            assert admin.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone() == (True,)
            return str(statement)

        yield drop


def posted(api: Api, world: World, key: str) -> Any:
    """The answer to a POST that is sent again until it is taken."""

    def look() -> Any:
        headers = {"Idempotency-Key": key}
        answer = api.client.post("/v1/train", json=training(world, 1), headers=headers)
        assert answer.status_code in (202, 503), answer.text
        return answer if answer.status_code == 202 else None

    return until(look, "a 202")


def counts(world: World) -> list[int]:
    """How many models and jobs there are."""
    with world.reading() as session:
        return [session.scalar(select(func.count()).select_from(one)) or 0 for one in (Model, Job)]
