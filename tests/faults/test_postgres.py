"""postgres: the server restarts, and drops connections within transactions."""

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
from tests.faults.conftest import ExpectedDigest, Postmaster
from tests.faults.parts import Api, assert_consistent, digest, train, training
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow

#: Long enough for a run to make progress in between.
DROP_SECONDS = 1.0
DROPS = 8
DROP = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
)
#: A process that waits for one of our locks, and its statement.
BLOCKED = (
    "SELECT pid, query FROM pg_stat_activity WHERE %(me)s = ANY(pg_blocking_pids(pid)) LIMIT 1"
)


def test_postgres_restarts(
    outage_harness: WorkerHarness,
    outage_worker: Worker,
    api: Api,
    postmaster: Postmaster,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = outage_harness, expected_digest(outage_harness)
    child = harness.child_pid("train")
    job_id = train(harness)
    harness.first_checkpoint(job_id)
    # `pg_ctl stop -m immediate` sends the same signal.
    postmaster.process.send_signal(signal.SIGQUIT)
    postmaster.process.wait(20)
    try:
        for answer in (
            api.client.get("/v1/jobs"),
            api.client.post("/v1/train", json=training(harness, 1)),
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
    harness.wait_until_succeeded(job_id, seconds=90)
    assert digest(harness, job_id) == expected
    harness.wait_until_succeeded(api.submit(harness))
    assert harness.child_pid("train") == child
    assert_consistent(harness)


def test_postgres_drops_connections(
    outage_harness: WorkerHarness, outage_worker: Worker, api: Api
) -> None:
    harness = outage_harness
    trained = api.submit(harness)
    model_id = harness.wait_until_succeeded(trained).model_id
    assert model_id
    jobs = [train(harness), *(harness.generate(model_id, n=3) for _ in range(20))]
    with admin_of(harness) as admin:
        for number in range(DROPS):
            admin.execute(DROP)
            # A connection that was dropped while idle must not cause any other error.
            assert api.client.get(f"/v1/jobs/{jobs[0]}").status_code in (200, 503)
            jobs.append(posted(api, harness, f"drop-{number}").json()["id"])
            time.sleep(DROP_SECONDS)
    for job_id in jobs:
        harness.wait_until_succeeded(job_id, seconds=90)
    assert len(set(jobs)) == len(jobs)
    assert_consistent(harness)


def test_postgres_drops_a_post_between_its_insert_and_its_commit(
    outage_harness: WorkerHarness, outage_worker: Worker, api: Api
) -> None:
    harness = outage_harness
    before = counts(harness)
    key = {"Idempotency-Key": "dropped"}
    with ThreadPoolExecutor(1) as other, blocked_writes(harness, "job_events") as drop:
        # Its model and its job are inserted; the first event of its history is blocked.
        asked = other.submit(api.client.post, "/v1/train", json=training(harness, 1), headers=key)
        assert drop().startswith("INSERT INTO job_events")
        answer = asked.result(20)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["type"] == "/problems/database-unavailable"
    assert "send it again with the same Idempotency-Key" in answer.json()["detail"]
    assert counts(harness) == before
    # What the answer advises makes one job.
    again = api.client.post("/v1/train", json=training(harness, 1), headers=key)
    assert again.status_code == 202
    assert counts(harness) == [count + 1 for count in before]
    harness.wait_until_succeeded(again.json()["id"])


def test_postgres_drops_a_worker_between_its_last_write_and_its_commit(
    outage_harness: WorkerHarness, outage_worker: Worker, api: Api
) -> None:
    harness = outage_harness
    model_id = harness.wait_until_succeeded(api.submit(harness)).model_id
    assert model_id
    with blocked_writes(harness, "texts") as drop:
        # In the worker's transaction the job has ended by then; its texts are blocked.
        job_id = harness.generate(model_id, n=3)
        assert drop().startswith("INSERT INTO texts")
        assert harness.job(job_id).status == "running"
    job = harness.wait_until_succeeded(job_id)
    assert (
        job.attempt == harness.count(job_id, "claimed") == harness.count(job_id, "succeeded") == 1
    )
    assert [text.position for text in harness.texts(job_id)] == [0, 1, 2]
    assert_consistent(harness)


@contextmanager
def admin_of(harness: WorkerHarness) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own, in autocommit mode."""
    url = harness.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@contextmanager
def blocked_writes(harness: WorkerHarness, table: str) -> Iterator[Callable[[], str]]:
    """Block all writes to a table inside the block.

    Yields:
        A function that waits for a blocked writer, drops its connection, and returns its statement.
    """
    with admin_of(harness) as locker, admin_of(harness) as admin, locker.transaction():
        locker.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(table)))
        me = {"me": locker.info.backend_pid}

        def drop() -> str:
            blocked = until(lambda: admin.execute(BLOCKED, me).fetchone(), "a blocked writer")
            pid, statement = blocked
            assert admin.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone() == (True,)
            return str(statement)

        yield drop


def posted(api: Api, harness: WorkerHarness, key: str) -> Any:
    """Repeat a POST until it is accepted. Returns the response."""

    def look() -> Any:
        headers = {"Idempotency-Key": key}
        answer = api.client.post("/v1/train", json=training(harness, 1), headers=headers)
        assert answer.status_code in (202, 503), answer.text
        return answer if answer.status_code == 202 else None

    return until(look, "a 202")


def counts(harness: WorkerHarness) -> list[int]:
    """The numbers of models and jobs."""
    with harness.reading() as session:
        return [
            session.scalar(select(func.count()).select_from(table)) or 0 for table in (Model, Job)
        ]
