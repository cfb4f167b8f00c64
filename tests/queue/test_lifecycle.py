"""A job's life, one transition at a time."""

import pytest
from sqlalchemy import select, update

from shared import blobs, worker_registry
from shared.ids import new_id
from shared.queue import Queue
from shared.queue.errors import AlreadyEnded, NoSuchJob
from shared.queue.types import CheckpointRecord, LeaseDirectives, problem
from shared.scheduling.errors import QueueFull
from shared.settings import Settings
from shared.tables import Device, Job, JobEvent
from tests.queue.conftest import WORKER, QueueHarness


def events(harness: QueueHarness, job_id: str) -> list[str]:
    with harness.engine.connect() as connection:
        query = select(JobEvent.type).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
        return list(connection.scalars(query))


def test_from_submit_to_success(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    assert harness.job(job_id).status == "queued"
    [claim] = harness.claim()
    job = harness.job(job_id)
    assert (job.status, job.attempt, job.worker_id) == ("running", 1, WORKER)
    harness.clock.move(5)
    harness.queue.succeed(claim)
    job = harness.job(job_id)
    assert (job.status, job.lease_expires_at, job.finished_at) == (
        "succeeded",
        None,
        harness.clock.now,
    )
    assert events(harness, job_id) == ["submitted", "claimed", "succeeded"]


def test_a_failure_says_why(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    [claim] = harness.claim()
    harness.queue.fail(claim, problem("too-large", "Too large", "lower units"))
    job = harness.job(job_id)
    assert job.status == "failed"
    assert job.error == {
        "type": "/problems/too-large",
        "title": "Too large",
        "detail": "lower units",
    }


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    assert harness.cancel(job_id) == "cancelled"
    assert harness.claim() == []
    assert harness.job(job_id).status == "cancelled"


def test_a_running_job_is_asked_to_stop(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    [claim] = harness.claim()
    assert harness.queue.heartbeat(claim) == LeaseDirectives()
    assert harness.cancel(job_id) == "running"
    assert harness.cancel(job_id) == "running"
    assert harness.queue.heartbeat(claim) == LeaseDirectives(cancel=True)
    harness.queue.cancel_claimed(claim)
    assert harness.job(job_id).status == "cancelled"
    assert events(harness, job_id).count("cancel_requested") == 1


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_an_end_is_final(harness: QueueHarness, end: str) -> None:
    [job_id] = harness.submit()
    [claim] = harness.claim()
    if end == "succeeded":
        harness.queue.succeed(claim)
    elif end == "failed":
        harness.queue.fail(claim, problem("x", "X", "x"))
    else:
        harness.queue.cancel_claimed(claim)
    with pytest.raises(AlreadyEnded, match="has already"):
        harness.cancel(job_id)
    assert harness.queue.rescue() == []
    assert harness.claim() == []
    assert harness.job(job_id).status == end


def test_cancelling_an_unknown_job_is_refused(harness: QueueHarness) -> None:
    with pytest.raises(NoSuchJob):
        harness.cancel(new_id())


def test_a_released_job_continues_later_and_loses_no_attempt(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    for _ in range(harness.settings.max_attempts + 2):
        [claim] = harness.claim()
        harness.queue.release(claim)
        job = harness.job(job_id)
        assert (job.status, job.fruitless_attempts) == ("queued", 0)


def test_a_heartbeat_keeps_the_lease(harness: QueueHarness) -> None:
    harness.submit()
    [claim] = harness.claim()
    for _ in range(5):
        harness.clock.move(harness.settings.lease_seconds - 1)
        harness.queue.heartbeat(claim)
        assert harness.queue.rescue() == []


def test_a_lost_worker_s_job_is_queued_again_and_fails_after_max_attempts(
    harness: QueueHarness,
) -> None:
    [job_id] = harness.submit()
    for attempt in range(1, harness.settings.max_attempts + 1):
        [claim] = harness.claim()
        assert claim.attempt == attempt
        harness.clock.move(harness.settings.lease_seconds + 1)
        [rescue] = harness.queue.rescue()
        last = attempt == harness.settings.max_attempts
        assert rescue.outcome == ("failed" if last else "queued")
    job = harness.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert "3 attempts ended without progress" in job.error["detail"]
    assert WORKER in job.error["detail"]


def test_a_newer_checkpoint_counts_as_progress(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    for step in range(1, harness.settings.max_attempts + 3):
        [claim] = harness.claim()
        sha256 = blobs.store(harness.engine, b"weights %d" % step)
        record = CheckpointRecord(step, 0.1, 1.0, 1.0, "d" * 64, sha256, 9, {})
        harness.queue.record_checkpoint(claim, record)
        harness.clock.move(harness.settings.lease_seconds + 1)
        [rescue] = harness.queue.rescue()
        assert rescue.outcome == "queued"
    assert harness.job(job_id).status == "queued"


def test_a_cancelled_job_of_a_lost_worker_is_cancelled(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    harness.claim()
    harness.cancel(job_id)
    harness.clock.move(harness.settings.lease_seconds + 1)
    [rescue] = harness.queue.rescue()
    assert (rescue.job_id, rescue.outcome) == (job_id, "cancelled")


def test_the_number_of_queued_jobs_is_capped(harness: QueueHarness) -> None:
    queue = Queue(harness.engine, Settings(max_queued_per_user=3), harness.clock)
    full = QueueHarness(
        harness.engine, queue, harness.clock, harness.settings, harness.users, harness.model_id,
        harness.corpus_id,
    )  # fmt: skip
    full.submit(count=3)
    with pytest.raises(QueueFull, match="3 queued jobs"):
        full.submit()
    full.submit("grace")


def test_drain_reaches_the_job_through_its_heartbeat(harness: QueueHarness) -> None:
    worker = worker_registry.WorkerInfo("host", "cpu", "train", 1, {})
    worker_registry.register(harness.engine, worker, ready=True, clock=harness.clock)
    harness.submit()
    [claim] = harness.claim()
    assert harness.queue.heartbeat(claim) == LeaseDirectives()
    with harness.engine.connect() as connection:
        assert connection.scalar(select(Device.current_job_id)) == claim.job_id
    worker_registry.request_drain(harness.engine, worker.id, harness.clock)
    assert harness.queue.heartbeat(claim) == LeaseDirectives(drain=True)
    harness.queue.release(claim)
    with harness.engine.connect() as connection:
        assert connection.scalar(select(Device.current_job_id)) is None
    assert worker_registry.heartbeat(harness.engine, worker.id, harness.clock) is True


def test_waiting_names_a_job_of_each_kind_that_has_waited_long_enough(
    harness: QueueHarness,
) -> None:
    [training] = harness.submit()
    harness.clock.move(2)
    [text] = harness.submit(kind="generate")
    assert harness.queue.waiting(3) == []
    harness.clock.move(2)
    assert [w.job_id for w in harness.queue.waiting(3)] == [training]
    harness.clock.move(2)
    assert {w.job_id for w in harness.queue.waiting(3)} == {training, text}
    harness.claim()
    assert [w.job_id for w in harness.queue.waiting(3)] == [text]


def test_heartbeats_with_another_lease_setting_renew_only_held_jobs(harness: QueueHarness) -> None:
    lost, cancelled, other = (
        harness.submit(user, kind="generate")[0] for user in ("ada", "bob", "grace")
    )
    claims = harness.claim("generate", limit=3)
    assert {claim.job_id for claim in claims} == {lost, cancelled, other}
    elsewhere = Queue(harness.engine, Settings(lease_seconds=600), harness.clock)
    with harness.engine.begin() as connection:
        connection.execute(update(Job).where(Job.id == lost).values(attempt=7))
    harness.cancel(cancelled)
    directives = elsewhere.heartbeats(claims)
    assert {job_id: directive.cancel for job_id, directive in directives.items()} == {
        cancelled: True,
        other: False,
    }
    harness.clock.move(harness.settings.lease_seconds + 1)
    assert [rescue.job_id for rescue in harness.queue.rescue()] == [lost]
