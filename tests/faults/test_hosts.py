"""zombie, parent_dies, redeploy: one of two hosts fails or is events to stop."""

import os
import signal
import time
from typing import Any

import pytest
from sqlalchemy import Table, select, text

from shared.database import IDLE_TIMEOUT_SECONDS
from shared.job_events import EventReader, sort_key
from shared.tables import Checkpoint, GeneratedText, Job, JobEvent, Metric
from tests.faults.conftest import ExpectedDigest, Postmaster, SecondHost
from tests.faults.parts import assert_consistent, digest, gone, parent, train
from tests.worker.harness import Worker, WorkerHarness, continue_process, stop_process, until

pytestmark = pytest.mark.slow

#: Time for a stopped training to save its checkpoint, and for its worker to end.
DRAIN_SECONDS = 30.0
#: The kernel notices a killed process at once.
END_SECONDS = 10.0
#: Shorter than a lease, so that its holder may still write once the database is back.
AWAY_SECONDS = 1.0
#: So many that two trainings surely run side by side.
EPOCHS = 150


def test_zombie(
    outage_harness: WorkerHarness,
    outage_worker: Worker,
    second_host: SecondHost,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = outage_harness, expected_digest(outage_harness, EPOCHS)
    workers = {"here": outage_worker, SecondHost.name: second_host.up()}
    listener = EventReader(harness.environment["REDIS_URL"], 2, 1.0)
    job_id = train(harness, EPOCHS, sample={"length": 10, "temperatures": [0.5]})
    harness.first_checkpoint(job_id)
    host = host_of(harness, job_id)
    zombie = harness.child_pid("train", host=host)
    stop_process(zombie)
    try:
        # If it was frozen in a transaction, it locks the job's row until the database ends that.
        job = harness.wait_until_succeeded(job_id, seconds=IDLE_TIMEOUT_SECONDS + 60)
        before = rows(harness, job_id)
        events = listener.read_all(job_id)
    finally:
        continue_process(zombie)
    assert (job.attempt, host_of(harness, job_id)) == (2, *workers.keys() - {host})
    until(lambda: has_ended(workers[host], job_id), "the end of the zombie's run", 20)
    # It recovers: both hosts run the next trainings.
    for pair in pair_of_trainings(harness).values():
        harness.wait_until_succeeded(pair)
    assert harness.child_pid("train", host=host) == zombie
    assert rows(harness, job_id) == before
    # The job's followers receive nothing from it either.
    assert [entry for entry in events if sort_key(entry.id)[0] == 2]
    assert listener.read_all(job_id) == events
    assert digest(harness, job_id) == expected


def test_a_process_frozen_in_a_transaction_does_not_keep_its_locks(
    outage_harness: WorkerHarness,
) -> None:
    with outage_harness.engine.connect() as connection:
        allowed = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    assert allowed == f"{IDLE_TIMEOUT_SECONDS}s"


def test_parent_dies(
    outage_harness: WorkerHarness,
    outage_worker: Worker,
    second_host: SecondHost,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = outage_harness, expected_digest(outage_harness, EPOCHS)
    # The main process of a lane is killed: the supervisor starts another.
    worker = second_host.up()
    jobs = pair_of_trainings(harness)
    child = harness.child_pid("train", host=SecondHost.name)
    os.kill(parent(child), signal.SIGKILL)
    until(lambda: gone(child), "the end of the child", END_SECONDS)
    assert_recovered(harness, jobs, expected)
    until(lambda: harness.child_pid("train", host=SecondHost.name) != child, "another child")
    # The supervisor is killed: its lanes return their jobs to the queue, and end.
    second_host.up()
    jobs = pair_of_trainings(harness)
    children = children_of(harness)
    processes = [*children, *map(parent, children)]
    worker.process.kill()
    worker.process.wait()
    until(lambda: all(map(gone, processes)), "the end of the lanes", DRAIN_SECONDS)
    assert harness.events(jobs[SecondHost.name]).count("queued") == 1
    assert_recovered(harness, jobs, expected)
    # All but the children are killed at once, so that no process is left to end them.
    worker = second_host.up()
    jobs = pair_of_trainings(harness)
    children = children_of(harness)
    for pid in (worker.process.pid, *map(parent, children)):
        os.kill(pid, signal.SIGKILL)
    worker.process.wait()
    until(lambda: all(map(gone, children)), "the end of the children", END_SECONDS)
    assert_recovered(harness, jobs, expected)
    assert_consistent(harness)


def test_redeploy(
    outage_harness: WorkerHarness,
    outage_worker: Worker,
    second_host: SecondHost,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = outage_harness, expected_digest(outage_harness, EPOCHS)
    worker = second_host.up()
    jobs = pair_of_trainings(harness)
    drained = jobs[SecondHost.name]
    assert worker.stop() < DRAIN_SECONDS
    assert worker.process.returncode == 0
    assert not any(row.current_job_id for row in harness.devices(SecondHost.name))
    assert_recovered(harness, jobs, expected)
    # It resumes from the step it had reached, not from the end of the epoch before.
    steps = [data["step"] for data in harness.events_of_attempt(drained, "checkpoint", attempt=1)]
    assert harness.event(drained, "resumed")["step"] == steps[-1]
    # One lane alone is stopped: the supervisor starts it again.
    job_id = train(harness, EPOCHS)
    harness.first_checkpoint(job_id)
    main = parent(harness.child_pid("train"))
    os.kill(main, signal.SIGTERM)
    until(lambda: gone(main), "the end of the lane", DRAIN_SECONDS)
    assert harness.wait_until_succeeded(job_id, seconds=90).attempt == 2
    assert digest(harness, job_id) == expected
    # The child alone gets TERM, as when a whole process group is stopped: it returns its job to the
    # queue too, without waiting for the lease to expire.
    job_id = train(harness, EPOCHS)
    harness.first_checkpoint(job_id)
    child = harness.child_pid("train")
    os.kill(child, signal.SIGTERM)
    until(lambda: gone(child), "the end of the child", DRAIN_SECONDS)
    assert harness.events_of_attempt(job_id, "queued", attempt=1)[-1]["reason"] == "drained"
    assert harness.wait_until_succeeded(job_id, seconds=90).attempt == 2
    assert digest(harness, job_id) == expected
    # An idle child ends at once, and its successor runs the next job.
    until(lambda: harness.child_pid("train") != child, "another child")
    idle = harness.child_pid("train")
    os.kill(idle, signal.SIGTERM)
    until(lambda: gone(idle), "the end of an idle child", END_SECONDS)
    harness.wait_until_succeeded(train(harness, 1), seconds=90)


def test_a_worker_is_told_to_stop_while_the_database_is_away(
    outage_harness: WorkerHarness,
    outage_worker: Worker,
    second_host: SecondHost,
    postmaster: Postmaster,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = outage_harness, expected_digest(outage_harness, EPOCHS)
    second_host.up()
    jobs = pair_of_trainings(harness)
    main = parent(harness.child_pid("train", host=SecondHost.name))
    postmaster.process.send_signal(signal.SIGQUIT)
    postmaster.process.wait(END_SECONDS)
    os.kill(main, signal.SIGTERM)
    time.sleep(AWAY_SECONDS)
    postmaster.stop()
    postmaster.start()
    until(lambda: gone(main), "the end of the lane", DRAIN_SECONDS)
    # The child got the signal all the same, and returned its job as soon as it could.
    assert (
        harness.events_of_attempt(jobs[SecondHost.name], "queued", attempt=1)[-1]["reason"]
        == "drained"
    )
    assert_recovered(harness, jobs, expected)


def pair_of_trainings(harness: WorkerHarness) -> dict[str, str]:
    """Run two equal trainings up to a checkpoint. Returns them by their hosts."""
    jobs = [train(harness, EPOCHS), train(harness, EPOCHS)]
    for job_id in jobs:
        harness.first_checkpoint(job_id)
    found = {host_of(harness, job_id): job_id for job_id in jobs}
    assert set(found) == {"here", SecondHost.name}
    return found


def assert_recovered(harness: WorkerHarness, jobs: dict[str, str], expected: str) -> None:
    """Check that both trainings end with the expected digest, the second host's after a resume."""
    for job_id in jobs.values():
        harness.wait_until_succeeded(job_id, seconds=90)
        assert digest(harness, job_id) == expected
        assert "inexact" not in harness.events(job_id)
    assert harness.job(jobs["here"]).attempt == 1
    assert harness.job(jobs[SecondHost.name]).attempt == 2
    assert "resumed" in harness.events(jobs[SecondHost.name])


def host_of(harness: WorkerHarness, job_id: str) -> str:
    """The host that last claimed a job."""
    return str(harness.job(job_id).worker_id).partition("/")[0]


def children_of(harness: WorkerHarness) -> list[int]:
    """The ids of the second host's processes in which jobs run."""
    return [harness.child_pid(lane, host=SecondHost.name) for lane in ("train", "generate")]


def has_ended(worker: Worker, job_id: str) -> bool:
    """Whether a worker has logged the end of its run of a job."""
    return any(job_id in line and '"run_ended"' in line for line in worker.log.splitlines())


def rows(harness: WorkerHarness, job_id: str) -> list[Any]:
    """All rows of a job."""
    found: list[Any] = []
    with harness.engine.connect() as connection:
        for model in (Job, Checkpoint, GeneratedText, JobEvent, Metric):
            table = model.__table__
            assert isinstance(table, Table)
            of_job = table.c.id if model is Job else table.c.job_id
            found += connection.execute(
                select(table).where(of_job == job_id).order_by(*table.primary_key)
            ).all()
    return found
