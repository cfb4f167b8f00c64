"""postgres: restarts at once, and drops connections in the middle of transactions."""

import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.faults.conftest import Postmaster
from tests.faults.parts import Api, assert_consistent, digest, train, training
from tests.worker.world import Worker, World, until

pytestmark = pytest.mark.slow

#: Rarely enough that a run gets on in between.
DROP_SECONDS = 1.0
DROPS = 8
DROP = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
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
            assert "nothing was changed" in answer.json()["detail"]
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
    statuses = []
    with psycopg.connect(world.queue.engine.url.render_as_string(False).replace(
        "+psycopg", "")) as admin:  # fmt: skip
        admin.autocommit = True
        for _ in range(DROPS):
            admin.execute(DROP)
            statuses.append(api.client.get(f"/v1/jobs/{jobs[0]}").status_code)
            time.sleep(DROP_SECONDS)
    # A connection that was dropped while it lay idle is not the asker's concern.
    assert set(statuses) <= {200, 503}
    for job_id in jobs:
        world.succeeded(job_id, seconds=90)
    assert_consistent(world)
