"""A job's life, one transition after the other."""

import pytest
from sqlalchemy import select, update

from shared import blobs, worker_registry
from shared.ids import new_id
from shared.queue import Queue
from shared.queue.errors import AlreadyEnded, NoSuchJob, QueueFull
from shared.queue.types import CheckpointRecord, Orders, problem
from shared.settings import Settings
from shared.tables import Device, Job, JobEvent
from tests.queue.conftest import WORKER, World


def events(world: World, job_id: str) -> list[str]:
    with world.engine.connect() as connection:
        query = select(JobEvent.type).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
        return list(connection.scalars(query))


def test_from_submit_to_success(world: World) -> None:
    [job_id] = world.submit()
    assert world.job(job_id).status == "queued"
    [claim] = world.claim()
    job = world.job(job_id)
    assert (job.status, job.attempt, job.worker_id) == ("running", 1, WORKER)
    world.clock.move(5)
    world.queue.succeed(claim)
    job = world.job(job_id)
    assert (job.status, job.lease_expires_at, job.finished_at) == (
        "succeeded",
        None,
        world.clock.now,
    )
    assert events(world, job_id) == ["submitted", "claimed", "succeeded"]


def test_a_failure_says_why(world: World) -> None:
    [job_id] = world.submit()
    [claim] = world.claim()
    world.queue.fail(claim, problem("too-large", "Too large", "lower units"))
    job = world.job(job_id)
    assert job.status == "failed"
    assert job.error == {
        "type": "/problems/too-large",
        "title": "Too large",
        "detail": "lower units",
    }


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(world: World) -> None:
    [job_id] = world.submit()
    assert world.cancel(job_id) == "cancelled"
    assert world.claim() == []
    assert world.job(job_id).status == "cancelled"


def test_a_running_job_is_asked_to_stop(world: World) -> None:
    [job_id] = world.submit()
    [claim] = world.claim()
    assert world.queue.heartbeat(claim) == Orders()
    assert world.cancel(job_id) == "running"
    assert world.cancel(job_id) == "running"
    assert world.queue.heartbeat(claim) == Orders(cancel=True)
    world.queue.cancelled(claim)
    assert world.job(job_id).status == "cancelled"
    assert events(world, job_id).count("cancel_requested") == 1


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_an_end_is_final(world: World, end: str) -> None:
    [job_id] = world.submit()
    [claim] = world.claim()
    if end == "succeeded":
        world.queue.succeed(claim)
    elif end == "failed":
        world.queue.fail(claim, problem("x", "X", "x"))
    else:
        world.queue.cancelled(claim)
    with pytest.raises(AlreadyEnded, match="has already"):
        world.cancel(job_id)
    assert world.queue.rescue() == []
    assert world.claim() == []
    assert world.job(job_id).status == end


def test_cancelling_what_is_not_there(world: World) -> None:
    with pytest.raises(NoSuchJob):
        world.cancel(new_id())


def test_a_released_job_goes_on_later_and_has_lost_no_attempt(world: World) -> None:
    [job_id] = world.submit()
    for _ in range(world.settings.max_attempts + 2):
        [claim] = world.claim()
        world.queue.release(claim)
        job = world.job(job_id)
        assert (job.status, job.fruitless_attempts) == ("queued", 0)


def test_a_heartbeat_keeps_the_lease(world: World) -> None:
    world.submit()
    [claim] = world.claim()
    for _ in range(5):
        world.clock.move(world.settings.lease_seconds - 1)
        world.queue.heartbeat(claim)
        assert world.queue.rescue() == []


def test_a_lost_worker_s_job_returns_to_the_line_and_fails_in_the_end(world: World) -> None:
    [job_id] = world.submit()
    for attempt in range(1, world.settings.max_attempts + 1):
        [claim] = world.claim()
        assert claim.attempt == attempt
        world.clock.move(world.settings.lease_seconds + 1)
        [rescue] = world.queue.rescue()
        last = attempt == world.settings.max_attempts
        assert rescue.outcome == ("failed" if last else "queued")
    job = world.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert "3 attempts ended without progress" in job.error["detail"]
    assert WORKER in job.error["detail"]


def test_progress_is_a_newer_checkpoint(world: World) -> None:
    [job_id] = world.submit()
    for step in range(1, world.settings.max_attempts + 3):
        [claim] = world.claim()
        sha256 = blobs.store(world.engine, b"weights %d" % step)
        record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 9, {})
        world.queue.record_checkpoint(claim, record)
        world.clock.move(world.settings.lease_seconds + 1)
        [rescue] = world.queue.rescue()
        assert rescue.outcome == "queued"
    assert world.job(job_id).status == "queued"


def test_a_cancelled_job_of_a_lost_worker_is_cancelled(world: World) -> None:
    [job_id] = world.submit()
    world.claim()
    world.cancel(job_id)
    world.clock.move(world.settings.lease_seconds + 1)
    [rescue] = world.queue.rescue()
    assert (rescue.job_id, rescue.outcome) == (job_id, "cancelled")


def test_the_line_has_an_end(world: World) -> None:
    queue = Queue(world.engine, Settings(max_queued_per_user=3), world.clock)
    full = World(
        world.engine, queue, world.clock, world.settings, world.users, world.model_id,
        world.corpus_id,
    )  # fmt: skip
    full.submit(count=3)
    with pytest.raises(QueueFull, match="3 queued jobs"):
        full.submit()
    full.submit("grace")


def test_drain_reaches_the_job_through_its_heartbeat(world: World) -> None:
    worker = worker_registry.WorkerInfo("host", "cpu", "train", 1, {})
    worker_registry.register(world.engine, worker, ready=True, clock=world.clock)
    world.submit()
    [claim] = world.claim()
    assert world.queue.heartbeat(claim) == Orders()
    with world.engine.connect() as connection:
        assert connection.scalar(select(Device.current_job_id)) == claim.job_id
    worker_registry.request_drain(world.engine, worker.id, world.clock)
    assert world.queue.heartbeat(claim) == Orders(drain=True)
    world.queue.release(claim)
    with world.engine.connect() as connection:
        assert connection.scalar(select(Device.current_job_id)) is None
    assert worker_registry.heartbeat(world.engine, worker.id, world.clock) is True


def test_waiting_names_a_job_of_each_kind_that_has_waited_long_enough(world: World) -> None:
    [training] = world.submit()
    world.clock.move(2)
    [text] = world.submit(kind="generate")
    assert world.queue.waiting(3) == []
    world.clock.move(2)
    assert [w.job_id for w in world.queue.waiting(3)] == [training]
    world.clock.move(2)
    assert {w.job_id for w in world.queue.waiting(3)} == {training, text}
    world.claim()
    assert [w.job_id for w in world.queue.waiting(3)] == [text]


def test_a_worker_with_another_lease_hears_of_its_own_jobs_alone(world: World) -> None:
    lost, cancelled, other = (
        world.submit(user, kind="generate")[0] for user in ("ada", "bob", "grace")
    )
    claims = world.claim("generate", limit=3)
    assert {claim.job_id for claim in claims} == {lost, cancelled, other}
    elsewhere = Queue(world.engine, Settings(lease_seconds=600), world.clock)
    with world.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == lost).values(attempt=7))
    world.cancel(cancelled)
    orders = elsewhere.heartbeats(claims)
    assert {job_id: order.cancel for job_id, order in orders.items()} == {
        cancelled: True,
        other: False,
    }
    world.clock.move(world.settings.lease_seconds + 1)
    assert [rescue.job_id for rescue in world.queue.rescue()] == [lost]
