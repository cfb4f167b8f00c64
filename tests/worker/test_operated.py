"""What an administrator does with a live server: traces its jobs, and drains its worker."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from shared.database import make_sessions
from shared.tables import User
from tests.faults.parts import Api, running_api, train, training
from tests.services.collector import Collector, Received, collecting
from tests.worker.harness import Worker, WorkerHarness, some_text, until

pytestmark = pytest.mark.slow

ROOMS = {"submit", "claim", "fit", "end"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def api(sqlite_harness: WorkerHarness, collector: Collector) -> Iterator[Api]:
    """An API whose user is an admin."""
    sqlite_harness.corpus(some_text())
    with make_sessions(sqlite_harness.engine).begin() as session:
        session.get_one(User, sqlite_harness.user()).role = "admin"
    with running_api(sqlite_harness, QUIRE_TRACES_URL=collector.url) as api:
        yield api


@pytest.fixture(scope="module")
def worker(sqlite_harness: WorkerHarness, collector: Collector) -> Iterator[Worker]:
    with sqlite_harness.worker(variables={"QUIRE_TRACES_URL": collector.url}) as worker:
        yield worker


def whole_trace(collector: Collector, job_id: str, names: set[str]) -> dict[str, Received]:
    """Wait for spans of a job, and check that they are one trace."""
    until(lambda: names <= collector.of(job_id).keys(), f"the spans {names}", 20)
    spans = collector.of(job_id)
    assert spans.keys() == names
    [root] = [span for span in spans.values() if not span.parent]
    for span in spans.values():
        assert span is root or span.parent == root.span
        assert span.began <= span.ended
        assert span.attributes["quire.job"] == job_id
        expected = "quire-api" if span is root or span.name == "submit" else "quire-worker"
        assert span.service == expected
    assert len({span.span for span in spans.values()}) == len(names)
    return spans


def test_a_job_is_one_trace_from_its_request_to_its_end(
    sqlite_harness: WorkerHarness, collector: Collector, api: Api, worker: Worker
) -> None:
    job_id = api.submit(sqlite_harness)
    job = sqlite_harness.wait_until_succeeded(job_id)
    spans = whole_trace(collector, job_id, {"POST /v1/train", *ROOMS})
    root = spans["POST /v1/train"]
    assert root.attributes["http.response.status_code"] == 202
    assert spans["fit"].attributes["quire.outcome"] == "succeeded"
    assert spans["fit"].attributes["quire.worker"] == "here/cpu/train"
    assert spans["fit"].attributes["quire.attempt"] == 1
    assert spans["fit"].ended - spans["fit"].began > spans["submit"].ended - spans["submit"].began
    # Each room begins where the one before has ended; a claim is asked for at any time.
    in_order = [root.began, spans["submit"].began, spans["submit"].ended, spans["claim"].ended]
    assert in_order == sorted(in_order)
    assert spans["claim"].ended == pytest.approx(spans["fit"].began, abs=1e6)
    assert spans["fit"].ended == pytest.approx(spans["end"].began, abs=1e6)
    # A request that waits for its text spans all of it.
    body = {"model": job.model_id, "length": 20, "seed": 1, "prompt": "The old "}
    headers = {"Prefer": "wait=20"}
    answer = api.client.post("/v1/generate", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    names = {"POST /v1/generate", "submit", "claim", "sample", "end"}
    spans = whole_trace(collector, answer.json()["id"], names)
    assert spans["POST /v1/generate"].ended > spans["sample"].ended
    # Nothing that somebody wrote goes to the collector.
    assert not any("old" in str(span.attributes) for span in collector.spans)
    # What submits no job has no trace.
    before = len(collector.spans)
    assert api.client.get(f"/v1/jobs/{job_id}").status_code == 200
    time.sleep(0.5)
    assert len(collector.spans) == before


def quire(api: Api, *arguments: str) -> str:
    """Run a command as the admin."""
    key = str(api.client.headers["Authorization"]).removeprefix("Bearer ")
    done = subprocess.run(
        [sys.executable, "-m", "quire", *arguments],
        env={"QUIRE_URL": str(api.client.base_url), "QUIRE_KEY": key, "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_drained_worker_gives_back_its_job_and_works_again_once_restarted(
    sqlite_harness: WorkerHarness, collector: Collector, api: Api, worker: Worker
) -> None:
    harness = sqlite_harness
    running = train(harness, 2000, patience=None)
    harness.first_checkpoint(running)
    quire(api, "drain", "here/cpu")
    # It writes a checkpoint, and is free; the process lives on.
    until(lambda: harness.job(running).status == "queued", "the job's return to the queue", 20)
    assert worker.process.poll() is None
    until(lambda: not any(row.current_job_id for row in harness.devices()), "a free worker", 10)
    saved = harness.checkpoints(running)[-1].step
    assert harness.event(running, "queued")["reason"] == "drained"
    # It hears of new work and leaves it, also of the other lane.
    answer = api.client.post("/v1/train", json=training(harness, 1))
    late = answer.json()["id"]
    text = harness.generate(str(harness.job(running).model_id))
    time.sleep(2.5)
    assert [harness.job(each).status for each in (running, late, text)] == ["queued"] * 3
    assert quire(api, "devices").count("stopping") == 2
    until(lambda: "fit" in collector.of(running), "the span of the run", 10)
    drained = collector.of(running)["fit"]
    assert drained.attributes["quire.outcome"] == "released"
    assert not drained.failed
    worker.stop()
    with harness.worker(variables={"QUIRE_TRACES_URL": collector.url}):
        assert not any(row.drain_requested_at for row in harness.devices())
        until(lambda: harness.job(running).attempt == 2, "the second attempt", 20)
        assert harness.wait_until_succeeded(text).attempt == 1
        assert harness.event(running, "resumed")["step"] == saved
        harness.cancel(running)
        assert harness.wait_until_succeeded(late).attempt == 1
