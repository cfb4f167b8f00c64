"""Two trainings on one device: real workers of a CPU that is divided into two slots.

The rows are the same on both databases: tests/queue/test_device_slots.py.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from shared.tables import JobEvent, User
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow

#: Some seconds of training, which is longer than a quantum, in epochs of a fraction of a second.
EPOCHS = 90
QUANTUM_SECONDS = 1
VARIABLES = {"QUIRE_TRAIN_SLOTS": "2", "QUIRE_QUANTUM_SECONDS": str(QUANTUM_SECONDS)}
SLOTS = ("here/cpu/train", "here/cpu/train:1")


@pytest.fixture(scope="module")
def worker(sqlite_harness: WorkerHarness) -> Iterator[Worker]:
    with sqlite_harness.worker(variables=VARIABLES) as worker:
        yield worker


def train(harness: WorkerHarness, *users: str) -> list[str]:
    return [harness.train(epochs=EPOCHS, user=user) for user in users]


def both_learn(harness: WorkerHarness, jobs: list[str]) -> dict[str, str]:
    """Wait until two jobs have a checkpoint and run. Returns their workers."""
    for job_id in jobs:
        harness.first_checkpoint(job_id)
    running = {job_id: harness.job(job_id) for job_id in jobs}
    assert {job.status for job in running.values()} == {"running"}
    return {job_id: str(job.worker_id) for job_id, job in running.items()}


def used_seconds(harness: WorkerHarness, user: str) -> float:
    with harness.reading() as session:
        return float(session.scalars(select(User.used_seconds).where(User.name == user)).one())


def ended_with(harness: WorkerHarness, jobs: list[str]) -> set[str]:
    for job_id in jobs:
        harness.wait_until_succeeded(job_id, seconds=120)
        assert "inexact" not in harness.events(job_id)
    return {harness.checkpoints(job_id)[-1].digest for job_id in jobs}


def rescues(harness: WorkerHarness, job_id: str) -> int:
    """How often a job's worker was lost: a job that yields says so."""
    with harness.reading() as session:
        query = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == "queued")
        return sum("reason" not in data for data in session.scalars(query))


def test_a_killed_slot_leaves_its_neighbour_and_both_pay_half(
    sqlite_harness: WorkerHarness, worker: Worker
) -> None:
    harness = sqlite_harness
    lost, neighbour = jobs = train(harness, "ada", "grace")
    workers = both_learn(harness, jobs)
    assert sorted(workers.values()) == list(SLOTS)
    dies, stays = (SLOTS.index(workers[job_id]) for job_id in jobs)
    stayed = harness.child_pid("train", slot=stays)
    os.kill(harness.child_pid("train", slot=dies), signal.SIGKILL)
    # Until the slot is back, the two take turns on the other one. What they learn stays the same
    # to the bit.
    assert len(ended_with(harness, jobs)) == 1
    assert (rescues(harness, lost), rescues(harness, neighbour)) == (1, 0)
    assert "resumed" in harness.events(lost)
    assert harness.child_pid("train", slot=stays) == stayed
    # Grace had no neighbour for a while, which changes nothing of what her slot costs.
    for job_id, user in ((lost, "ada"), (neighbour, "grace")):
        ran = harness.job(job_id).ran_seconds
        assert used_seconds(harness, user) == pytest.approx(ran / 2, rel=0.1)


def test_three_people_take_turns_and_one_is_paused(
    sqlite_harness: WorkerHarness, worker: Worker
) -> None:
    harness = sqlite_harness
    first, second, third = jobs = train(harness, "hedy", "joan", "mary")
    until(lambda: harness.job(third).status == "running", "the third one's turn")
    assert [harness.job(job_id).finished_at for job_id in (first, second)] == [None, None]
    given_way = [
        harness.event(job_id, "queued")
        for job_id in (first, second)
        if "yield_requested" in harness.events(job_id)
    ]
    assert {event["reason"] for event in given_way} == {"yielded"}
    assert all(event["seconds"] >= QUANTUM_SECONDS for event in given_way)
    # A pause frees one slot, for the one who waits, and leaves the other alone.
    harness.pause(third)
    until(lambda: harness.job(third).status == "paused", "the pause", 20)
    others = ended_with(harness, [first, second])
    assert harness.job(third).status == "paused"
    harness.resume(third)
    assert ended_with(harness, jobs) == others
    assert len(others) == 1
    for job_id, user in zip(jobs, ("hedy", "joan", "mary"), strict=True):
        assert used_seconds(harness, user) == pytest.approx(
            harness.job(job_id).ran_seconds / 2, abs=0.3
        )
