"""An idle child waits for the next wake by itself, and misses nothing meanwhile."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis
from sqlalchemy import update

from shared import worker_registry
from shared.broker import Broker, redis_url
from shared.tables import KINDS, Kind, User
from tests.services.redis import RedisServer, redis_server
from tests.worker.batch_runner import WORKER, make_batch_runner, make_model
from tests.worker.harness import WorkerHarness, continue_process, make_harness, stop_process, until
from worker.execution.batching.batch_runner import BatchRunner
from worker.execution.wakes import linger
from worker.execution.wakes.linger import LOOK_SECONDS, Linger
from worker.execution.wakes.wake_relay import WakeRelay
from worker.wake_transport import WakeList

#: Longer than any test: only what a test does ends the lingering.
LONG_SECONDS = 600.0


@pytest.fixture(autouse=True)
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linger, "LINGER_SECONDS", LONG_SECONDS)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, to be frozen and wiped."""
    with redis_server() as server:
        yield server


@pytest.fixture
def harness(database_url: str, server: RedisServer, tmp_path: Path) -> Iterator[WorkerHarness]:
    harness = make_harness(database_url, server.url, tmp_path)
    yield harness
    harness.engine.dispose()


@pytest.fixture
def model(harness: WorkerHarness) -> str:
    return make_model(harness)


@contextmanager
def lingering(
    harness: WorkerHarness, run_all: Callable[[str], int], batch_runner: BatchRunner
) -> Iterator[threading.Thread]:
    """Linger in a thread, as a child does after its last job."""
    wakes = WakeList(harness.environment["REDIS_URL"], "generate", LOOK_SECONDS)
    heartbeat = batch_runner._heartbeat
    waiting = Linger(
        wakes.take, partial(harness.queue.any_runnable, "generate"), lambda: heartbeat.draining
    )
    thread = threading.Thread(target=waiting.run, args=(run_all,))
    thread.start()
    try:
        yield thread
    finally:
        heartbeat.drain()
        thread.join(60)
        heartbeat.stop()
    assert not thread.is_alive()


def test_it_runs_jobs_as_their_wakes_come(harness: WorkerHarness, model: str) -> None:
    batch_runner = make_batch_runner(harness)
    with lingering(harness, batch_runner.run_all, batch_runner):
        for seed in range(3):
            job_id = harness.generate(model, seed=seed)
            assert harness.wait_until_succeeded(job_id).attempt == 1


def test_a_job_whose_wake_is_lost_is_found_all_the_same(
    harness: WorkerHarness, model: str, server: RedisServer
) -> None:
    batch_runner = make_batch_runner(harness)
    with lingering(harness, batch_runner.run_all, batch_runner):
        harness.wait_until_succeeded(harness.generate(model, wake=False))
        # Redis is wiped between the wake and its way to the child.
        job_id = harness.generate(model, seed=1)
        server.flush()
        harness.wait_until_succeeded(job_id)


def test_what_is_no_wake_is_dropped(harness: WorkerHarness, model: str) -> None:
    batch_runner = make_batch_runner(harness)
    wakes: list[str] = []

    def run_all(wake: str) -> int:
        wakes.append(wake)
        return batch_runner.run_all(wake)

    with (
        redis.Redis.from_url(redis_url(harness.environment["REDIS_URL"])) as server,
        lingering(harness, run_all, batch_runner) as thread,
    ):
        odd = {"headers": {"task": "os.system", "id": "x"}}
        server.lpush("generate", b"\xff", b"{", b"[" * 100_000, json.dumps(odd), b"7", b"null")
        job_id = harness.generate(model)
        harness.wait_until_succeeded(job_id)
        until(lambda: not server.llen("generate"), "an empty list")
        assert thread.is_alive()
    assert set(wakes) <= {job_id, linger.NO_WAKE}


@pytest.mark.parametrize("way", ["drain", "frozen", "wrong"])
def test_it_ends_soon_when_it_must(harness: WorkerHarness, server: RedisServer, way: str) -> None:
    batch_runner = make_batch_runner(harness)
    with lingering(harness, batch_runner.run_all, batch_runner) as thread:
        time.sleep(LOOK_SECONDS)
        assert thread.is_alive()
        if way == "drain":
            worker_registry.request_drain(harness.engine, WORKER.id)
            thread.join(30)
        elif way == "frozen":
            # Celery's own consumer knows how to wait for Redis.
            stop_process(server.pid)
            try:
                thread.join(30)
            finally:
                continue_process(server.pid)
        else:
            with redis.Redis.from_url(redis_url(server.url)) as client:
                client.set("generate", "no list")
                thread.join(30)
        assert not thread.is_alive()


def test_jobs_that_a_cap_stops_do_not_keep_it(
    harness: WorkerHarness, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linger, "LINGER_SECONDS", 2.0)
    job_id = harness.generate(model)
    with harness.engine.begin() as connection:
        connection.execute(update(User).values(max_device_seconds_per_day=0))
    batch_runner = make_batch_runner(harness)
    with lingering(harness, batch_runner.run_all, batch_runner) as thread:
        thread.join(30)
        assert not thread.is_alive()
    assert harness.job(job_id).status == "queued"


def test_a_wake_that_is_taken_by_a_draining_child_is_passed_on_once(
    harness: WorkerHarness, model: str
) -> None:
    job_id = harness.generate(model, wake=False)
    sent: list[str] = []
    relay = WakeRelay(partial(harness.queue.any_runnable, "generate"), sent.append)
    batch_runner = make_batch_runner(harness, relay=relay)
    batch_runner._heartbeat.drain()
    for _ in range(3):
        assert batch_runner.run_all(job_id) == 0
    assert sent == [job_id]
    batch_runner._heartbeat.stop()


def test_a_claim_that_leaves_jobs_behind_wakes_another_worker(
    harness: WorkerHarness, model: str
) -> None:
    sent: list[str] = []
    relay = WakeRelay(partial(harness.queue.any_runnable, "generate"), sent.append)
    for seed in range(3):
        harness.generate(model, wake=False, seed=seed)
    batch_runner = make_batch_runner(harness, max_jobs=2, relay=relay)
    assert batch_runner.run_all("a wake") == 3
    assert sent
    sent.clear()
    harness.generate(model, wake=False)
    assert batch_runner.run_all("a wake") == 1
    assert sent == []
    batch_runner._heartbeat.stop()


def send_wakes(server: RedisServer, kind: Kind, count: int) -> None:
    """Let threads send wakes, and wait until they lie in their list."""
    broker = Broker(server.url)
    for number in range(count):
        broker.wake_soon(kind, f"job-{number}")
    broker.close()
    with redis.Redis.from_url(redis_url(server.url)) as client:
        assert client.llen(kind) == count


@pytest.mark.parametrize("kind", KINDS)
def test_wakes_that_lie_there_are_taken_together(server: RedisServer, kind: Kind) -> None:
    send_wakes(server, kind, 20)
    wakes = WakeList(server.url, kind, 10.0)
    assert wakes.take(10.0) == "job-0"
    assert wakes.take(0.05) is None


def test_a_server_without_blmpop_gives_one_wake_after_the_other() -> None:
    with redis_server('rename-command BLMPOP ""\n') as old:
        send_wakes(old, "generate", 3)
        wakes = WakeList(old.url, "generate", 10.0)
        assert [wakes.take(10.0) for _ in range(3)] == [f"job-{number}" for number in range(3)]
        assert wakes.take(0.05) is None
