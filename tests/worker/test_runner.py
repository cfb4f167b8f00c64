"""What a failure becomes: one job, one handler that ends in its own way, and the row after it."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import tensorflow as tf
from sqlalchemy import exc

from shared.queue.errors import LeaseLost
from shared.queue.types import TextRecord
from shared.worker_registry import WorkerInfo, register
from tests.worker.harness import World, make_world, until
from worker.execution.failures import CorpusDeleted
from worker.execution.heartbeat import Heartbeat
from worker.execution.lease import CancelRequested, DrainRequested, Lease
from worker.execution.runner import Runner
from worker.ml.training.divergence import Diverged

NOWHERE = "redis://127.0.0.1:1/0"
ME = WorkerInfo("here", "cpu", "train", 1, {})


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    world = make_world(database_url, NOWHERE, tmp_path)
    yield world
    world.engine.dispose()


def run(world: World, handler: Callable[[Lease], Sequence[TextRecord]]) -> int:
    """Let a worker run all there is, with this handler; how many jobs it ran."""
    runner = Runner(world.queue, Heartbeat(world.queue, ME), ME, {"train": handler})
    return runner.run_all(wake="a wake")


def raising(error: BaseException) -> Callable[[Lease], Sequence[TextRecord]]:
    def handler(lease: Lease) -> Sequence[TextRecord]:
        raise error

    return handler


def test_it_runs_until_nothing_is_left(world: World) -> None:
    jobs = [world.train(wake=False) for _ in range(3)]
    assert run(world, lambda lease: ()) == 3
    assert [world.job(job).status for job in jobs] == ["succeeded"] * 3
    assert run(world, lambda lease: ()) == 0


@pytest.mark.parametrize(
    ("error", "slug", "says"),
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
def test_a_failure_is_told_with_a_way_out(
    world: World, error: Exception, slug: str, says: str
) -> None:
    job_id = world.train(wake=False)
    assert run(world, raising(error)) == 1
    job = world.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == f"/problems/{slug}"
    assert says in job.error["detail"]
    assert "Traceback" not in job.error["detail"]


def test_a_cancel_ends_the_job(world: World) -> None:
    job_id = world.train(wake=False)
    run(world, raising(CancelRequested()))
    assert world.job(job_id).status == "cancelled"


def test_a_drain_gives_the_job_back_unharmed(world: World) -> None:
    job_id = world.train(wake=False)
    runs = iter([DrainRequested(), None])

    def handler(lease: Lease) -> Sequence[TextRecord]:
        if error := next(runs):
            raise error
        return ()

    run(world, handler)
    job = world.job(job_id)
    assert (job.status, job.attempt, job.fruitless_attempts) == ("succeeded", 2, 1)


@pytest.mark.parametrize("error", ["lost", "away"])
def test_a_run_that_can_no_longer_write_leaves_the_job_to_the_rescue(
    world: World, error: str
) -> None:
    job_id = world.train(wake=False)

    def handler(lease: Lease) -> Sequence[TextRecord]:
        if error == "lost":
            raise LeaseLost(lease.claim)
        raise exc.OperationalError("SELECT", {}, Exception("server closed the connection"))

    run(world, handler)
    assert world.job(job_id).status == "running"
    until(lambda: [rescue.job_id for rescue in world.queue.rescue()] == [job_id], "the rescue", 5)


def test_a_claim_without_a_database_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.train(wake=False)

    def away(*_: object, **__: object) -> None:
        raise exc.OperationalError("SELECT", {}, Exception("no route to host"))

    monkeypatch.setattr(world.queue, "claim", away)
    assert run(world, lambda lease: ()) == 0


def test_an_end_waits_for_a_database_that_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.train(wake=False)
    succeed, tries = world.queue.succeed, []

    def sometimes(*arguments: object, **options: object) -> None:
        tries.append(arguments)
        if len(tries) == 1:
            raise exc.OperationalError("UPDATE", {}, Exception("the database is starting up"))
        succeed(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(world.queue, "succeed", sometimes)
    run(world, lambda lease: ())
    assert world.job(job_id).status == "succeeded"


def test_a_pulse_keeps_the_lease_and_hears_a_cancel(world: World) -> None:
    register(world.engine, ME, ready=True)
    job_id = world.train(wake=False)
    heartbeat = Heartbeat(world.queue, ME)
    heartbeat.start()

    def handler(lease: Lease) -> Sequence[TextRecord]:
        time.sleep(3)  # longer than the lease
        assert not lease.must_stop
        assert world.queue.rescue() == []
        world.cancel(job_id)
        until(lambda: lease.must_stop, "the cancel", 5)
        lease.check()
        return ()

    runner = Runner(world.queue, heartbeat, ME, {"train": handler})
    assert runner.run_all(wake="a wake") == 1
    heartbeat.stop()
    assert world.job(job_id).status == "cancelled"


def test_a_lease_that_was_not_renewed_is_lost(world: World) -> None:
    world.train(wake=False)

    def handler(lease: Lease) -> Sequence[TextRecord]:
        # No heartbeat was started, as where the database is away or the process is frozen.
        until(lambda: lease.lost, "the end of the lease", 5)
        lease.check()
        return ()

    assert run(world, handler) == 1
