"""Each outcome of a run, and the job's row after it."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import tensorflow as tf
from sqlalchemy import exc

from shared.queue.errors import LeaseLost
from shared.queue.types import TextRecord
from shared.worker_registry import WorkerInfo, register
from tests.worker.harness import WorkerHarness, make_harness, until
from worker.execution.failures import CorpusDeleted
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import CancelRequested, DrainRequested, Lease
from worker.execution.runner import Runner
from worker.ml.training.divergence import Diverged

UNREACHABLE_REDIS = "redis://127.0.0.1:1/0"
WORKER = WorkerInfo("here", "cpu", "train", 1, {})


@pytest.fixture
def harness(database_url: str, tmp_path: Path) -> Iterator[WorkerHarness]:
    harness = make_harness(database_url, UNREACHABLE_REDIS, tmp_path)
    yield harness
    harness.engine.dispose()


def run(harness: WorkerHarness, handler: Callable[[Lease], Sequence[TextRecord]]) -> int:
    """Run all jobs with a handler. Returns how many were run."""
    runner = Runner(harness.queue, Heartbeat(harness.queue, WORKER), WORKER, {"train": handler})
    return runner.run_all(wake="a wake")


def raising(error: BaseException) -> Callable[[Lease], Sequence[TextRecord]]:
    def handler(lease: Lease) -> Sequence[TextRecord]:
        raise error

    return handler


def test_it_runs_until_no_job_is_left(harness: WorkerHarness) -> None:
    jobs = [harness.train(wake=False) for _ in range(3)]
    assert run(harness, lambda lease: ()) == 3
    assert [harness.job(job).status for job in jobs] == ["succeeded"] * 3
    assert run(harness, lambda lease: ()) == 0


@pytest.mark.parametrize(
    ("error", "slug", "message"),
    [
        (CorpusDeleted("train"), "corpus-deleted", "Upload it again"),
        (Diverged(12, float("nan")), "diverged", "lower `learning_rate`"),
        (MemoryError(), "out-of-memory", "a smaller `batch_size`"),
        (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
            "out-of-memory",
            "fewer `units`",
        ),
        (ZeroDivisionError("by zero"), "unexpected-error", "ZeroDivisionError: by zero"),
    ],
)
def test_a_failure_names_its_way_out(
    harness: WorkerHarness, error: Exception, slug: str, message: str
) -> None:
    job_id = harness.train(wake=False)
    assert run(harness, raising(error)) == 1
    job = harness.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == f"/problems/{slug}"
    assert message in job.error["detail"]
    assert "Traceback" not in job.error["detail"]


def test_a_cancel_ends_the_job(harness: WorkerHarness) -> None:
    job_id = harness.train(wake=False)
    run(harness, raising(CancelRequested()))
    assert harness.job(job_id).status == "cancelled"


def test_a_drain_returns_the_job_to_the_queue(harness: WorkerHarness) -> None:
    job_id = harness.train(wake=False)
    runs = iter([DrainRequested(), None])

    def handler(lease: Lease) -> Sequence[TextRecord]:
        if error := next(runs):
            raise error
        return ()

    run(harness, handler)
    job = harness.job(job_id)
    assert (job.status, job.attempt, job.fruitless_attempts) == ("succeeded", 2, 1)


@pytest.mark.parametrize("error", ["lost", "away"])
def test_a_run_that_can_no_longer_write_is_left_to_the_rescue(
    harness: WorkerHarness, error: str
) -> None:
    job_id = harness.train(wake=False)

    def handler(lease: Lease) -> Sequence[TextRecord]:
        if error == "lost":
            raise LeaseLost(lease.claim)
        raise exc.OperationalError("SELECT", {}, Exception("server closed the connection"))

    run(harness, handler)
    assert harness.job(job_id).status == "running"
    until(lambda: [rescue.job_id for rescue in harness.queue.rescue()] == [job_id], "the rescue", 5)


def test_a_claim_without_a_database_is_no_error(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.train(wake=False)

    def away(*_: object, **__: object) -> None:
        raise exc.OperationalError("SELECT", {}, Exception("no route to host"))

    monkeypatch.setattr(harness.queue, "claim", away)
    assert run(harness, lambda lease: ()) == 0


def test_an_outcome_waits_for_a_database_that_comes_back(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = harness.train(wake=False)
    succeed, tries = harness.queue.succeed, []

    def fail_once(*arguments: object, **options: object) -> None:
        tries.append(arguments)
        if len(tries) == 1:
            raise exc.OperationalError("UPDATE", {}, Exception("the database is starting up"))
        succeed(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(harness.queue, "succeed", fail_once)
    run(harness, lambda lease: ())
    assert harness.job(job_id).status == "succeeded"


def test_a_heartbeat_renews_the_lease_and_notices_a_cancel(harness: WorkerHarness) -> None:
    register(harness.engine, WORKER, ready=True)
    job_id = harness.train(wake=False)
    heartbeat = Heartbeat(harness.queue, WORKER)
    heartbeat.start()

    def handler(lease: Lease) -> Sequence[TextRecord]:
        time.sleep(3)  # longer than the lease
        assert not lease.must_stop
        assert harness.queue.rescue() == []
        harness.cancel(job_id)
        until(lambda: lease.must_stop, "the cancel", 5)
        lease.check()
        return ()

    runner = Runner(harness.queue, heartbeat, WORKER, {"train": handler})
    assert runner.run_all(wake="a wake") == 1
    heartbeat.stop()
    assert harness.job(job_id).status == "cancelled"


def test_a_lease_that_was_not_renewed_is_lost(harness: WorkerHarness) -> None:
    harness.train(wake=False)

    def handler(lease: Lease) -> Sequence[TextRecord]:
        # No heartbeat runs, as if the database were away or the process frozen.
        until(lambda: lease.lost, "the end of the lease", 5)
        lease.check()
        return ()

    assert run(harness, handler) == 1
