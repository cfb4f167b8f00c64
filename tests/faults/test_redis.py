"""redis: killed, wiped, frozen, and down while jobs are submitted."""

import signal
import time

import pytest

from tests.faults.parts import Api, Redis, assert_consistent, parent, train
from tests.worker.harness import Worker, World, continue_process, stop_process, until
from worker.maintenance import WAIT_SECONDS

pytestmark = pytest.mark.slow

#: A wake's own time-outs, 2 s to connect and 2 s for an answer, and a busy machine.
ANSWER_SECONDS = 15.0
#: What waits for Redis has waited for all its time-outs by then.
FROZEN_SECONDS = 90.0


def test_redis_killed_and_down_at_submit(
    deprived: World, deprived_worker: Worker, broker_server: Redis, api: Api
) -> None:
    world = deprived
    running = train(world, epochs=60)
    world.first_checkpoint(running)
    child = world.child("train")
    broker_server.kill()
    try:
        began = time.monotonic()
        waiting = [api.submit(world) for _ in range(2)]
        assert time.monotonic() - began < 2 * ANSWER_SECONDS
        assert api.client.get("/health/ready").status_code == 503
        # What runs needs no Redis.
        assert world.succeeded(running).attempt == 1
    finally:
        broker_server.start()
    for job_id in waiting:
        world.succeeded(job_id)
    # Afterwards it is as if nothing had been: a wake is heard, by the same process.
    heard = api.submit(world)
    world.succeeded(heard)
    assert world.waited(heard) < WAIT_SECONDS
    assert world.child("train") == child
    assert_consistent(world)


def test_redis_wiped(
    deprived: World, deprived_worker: Worker, broker_server: Redis, api: Api
) -> None:
    world = deprived
    lane = [world.child("train"), parent(world.child("train"))]
    for pid in lane:
        stop_process(pid)
    try:
        waiting = [api.submit(world) for _ in range(5)]
        with broker_server.client() as client:
            until(lambda: client.llen("train"), "wakes in Redis")
            client.flushall()
            assert not client.keys("train*")
    finally:
        for pid in lane:
            continue_process(pid)
    for job_id in waiting:
        assert world.succeeded(job_id).attempt == 1
    assert_consistent(world)


def test_redis_frozen(
    deprived: World, deprived_worker: Worker, broker_server: Redis, api: Api
) -> None:
    world = deprived
    frozen_at = time.monotonic()
    broker_server.send(signal.SIGSTOP)
    try:
        waiting = api.submit(world)
        assert time.monotonic() - frozen_at < ANSWER_SECONDS
        assert world.job(waiting).status == "queued"
        time.sleep(max(0.0, FROZEN_SECONDS - (time.monotonic() - frozen_at)))
    finally:
        broker_server.send(signal.SIGCONT)
    world.succeeded(waiting)
    heard = api.submit(world)
    world.succeeded(heard)
    assert world.waited(heard) < WAIT_SECONDS
    assert_consistent(world)
