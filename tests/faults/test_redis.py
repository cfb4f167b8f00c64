"""redis: the server is killed, wiped, frozen, or down while jobs are submitted."""

import signal
import time

import pytest

from tests.faults.parts import Api, Redis, assert_consistent, parent, train
from tests.worker.harness import Worker, WorkerHarness, continue_process, stop_process, until
from worker.maintenance import WAIT_SECONDS

pytestmark = pytest.mark.slow

#: A wake's timeouts, 2 s to connect and 2 s for an answer, and time for a busy machine.
ANSWER_SECONDS = 15.0
#: Longer than all timeouts of everything that waits for Redis.
FROZEN_SECONDS = 90.0


def test_redis_killed_and_down_at_submit(
    outage_harness: WorkerHarness, outage_worker: Worker, broker_server: Redis, api: Api
) -> None:
    harness = outage_harness
    running = train(harness, epochs=60)
    harness.first_checkpoint(running)
    child = harness.child_pid("train")
    broker_server.kill()
    try:
        began = time.monotonic()
        waiting = [api.submit(harness) for _ in range(2)]
        assert time.monotonic() - began < 2 * ANSWER_SECONDS
        assert api.client.get("/health/ready").status_code == 503
        # A running job needs no Redis.
        assert harness.wait_until_succeeded(running).attempt == 1
    finally:
        broker_server.start()
    for job_id in waiting:
        harness.wait_until_succeeded(job_id)
    # Afterwards all is as before: the same process receives the next wake.
    heard = api.submit(harness)
    harness.wait_until_succeeded(heard)
    assert harness.wait_seconds(heard) < WAIT_SECONDS
    assert harness.child_pid("train") == child
    assert_consistent(harness)


def test_redis_wiped(
    outage_harness: WorkerHarness, outage_worker: Worker, broker_server: Redis, api: Api
) -> None:
    harness = outage_harness
    lane = [harness.child_pid("train"), parent(harness.child_pid("train"))]
    for pid in lane:
        stop_process(pid)
    try:
        waiting = [api.submit(harness) for _ in range(5)]
        with broker_server.client() as client:
            until(lambda: client.llen("train"), "wakes in Redis")
            client.flushall()
            assert not client.keys("train*")
    finally:
        for pid in lane:
            continue_process(pid)
    for job_id in waiting:
        assert harness.wait_until_succeeded(job_id).attempt == 1
    assert_consistent(harness)


def test_redis_frozen(
    outage_harness: WorkerHarness, outage_worker: Worker, broker_server: Redis, api: Api
) -> None:
    harness = outage_harness
    frozen_at = time.monotonic()
    broker_server.send(signal.SIGSTOP)
    try:
        waiting = api.submit(harness)
        assert time.monotonic() - frozen_at < ANSWER_SECONDS
        assert harness.job(waiting).status == "queued"
        time.sleep(max(0.0, FROZEN_SECONDS - (time.monotonic() - frozen_at)))
    finally:
        broker_server.send(signal.SIGCONT)
    harness.wait_until_succeeded(waiting)
    heard = api.submit(harness)
    harness.wait_until_succeeded(heard)
    assert harness.wait_seconds(heard) < WAIT_SECONDS
    assert_consistent(harness)
