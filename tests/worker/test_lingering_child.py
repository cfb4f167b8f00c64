"""A real worker whose child waits for the next wake by itself: idle, killed, and stopped.

The order of the tests matters for their time only: a worker takes long to start.
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import redis

from shared.broker import redis_url
from tests.worker.harness import Worker, WorkerHarness, until
from worker.execution.wakes.linger import LINGER_SECONDS

pytestmark = pytest.mark.slow

#: A child loads TensorFlow; on a busy machine that takes a minute.
CHILD_SECONDS = 180.0
#: A stop waits for the present look of a lingering child, not for the end of its stay.
STOP_SECONDS = 30.0


@pytest.fixture(scope="module")
def worker(sqlite_harness: WorkerHarness) -> Iterator[Worker]:
    with sqlite_harness.worker() as worker:
        yield worker


@pytest.fixture(scope="module")
def model(sqlite_harness: WorkerHarness, worker: Worker) -> str:
    training = sqlite_harness.wait_until_succeeded(sqlite_harness.train(epochs=1))
    assert training.model_id
    return training.model_id


def linger(harness: WorkerHarness, model: str) -> int:
    """Have a text written, after which the child waits by itself. Returns its process id."""
    harness.wait_until_succeeded(harness.generate(model))
    return harness.child_pid("generate")


def test_celery_has_its_child_back_after_a_while(
    sqlite_harness: WorkerHarness, worker: Worker, model: str
) -> None:
    """The next wake then takes its way through the parent."""
    pid = linger(sqlite_harness, model)
    # The other lane goes its own way meanwhile.
    training = sqlite_harness.wait_until_succeeded(sqlite_harness.train(epochs=1))
    assert training.attempt == 1
    time.sleep(LINGER_SECONDS + 2)
    later = sqlite_harness.wait_until_succeeded(sqlite_harness.generate(model))
    assert later.attempt == 1
    assert sqlite_harness.child_pid("generate") == pid
    assert "lingering_ended" not in worker.log


def test_a_child_that_waits_is_killed_and_replaced(
    sqlite_harness: WorkerHarness, worker: Worker, model: str
) -> None:
    pid = linger(sqlite_harness, model)
    os.kill(pid, signal.SIGKILL)
    until(lambda: sqlite_harness.child_pid("generate") != pid, "another child", CHILD_SECONDS)
    job = sqlite_harness.wait_until_succeeded(sqlite_harness.generate(model))
    assert job.attempt == 1
    assert sqlite_harness.count(job.id, "claimed") == 1


def test_a_worker_that_is_stopped_leaves_jobs_and_their_wake_to_the_next(
    sqlite_harness: WorkerHarness, worker: Worker, model: str
) -> None:
    linger(sqlite_harness, model)
    assert worker.stop() < STOP_SECONDS
    with redis.Redis.from_url(redis_url(sqlite_harness.environment["REDIS_URL"])) as server:
        server.delete("generate")
        waiting = sqlite_harness.generate(model)
        assert server.llen("generate") == 1
    with sqlite_harness.worker() as next_worker:
        assert sqlite_harness.wait_until_succeeded(waiting).attempt == 1
        assert "Traceback" not in next_worker.log
