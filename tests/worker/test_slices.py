"""Device slices, with a real worker whose quantum is two seconds."""

from collections.abc import Iterator

import pytest

from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow

#: Some seconds of training, which is longer than a quantum, in epochs of a fraction of a second.
EPOCHS = 120
QUANTUM_SECONDS = 2


@pytest.fixture(scope="module")
def worker(sqlite_harness: WorkerHarness) -> Iterator[Worker]:
    variables = {"QUIRE_QUANTUM_SECONDS": str(QUANTUM_SECONDS)}
    with sqlite_harness.worker(variables=variables) as worker:
        yield worker


@pytest.fixture(scope="module")
def expected_digest(sqlite_harness: WorkerHarness, worker: Worker) -> str:
    """The digest of an uninterrupted training."""
    job_id = sqlite_harness.train(epochs=EPOCHS)
    sqlite_harness.wait_until_succeeded(job_id, seconds=120)
    assert "yield_requested" not in sqlite_harness.events(job_id)
    return sqlite_harness.checkpoints(job_id)[-1].digest


def assert_resumed_exactly(harness: WorkerHarness, job_id: str, digest: str) -> None:
    events = harness.events(job_id)
    assert "resumed" in events
    assert "inexact" not in events
    assert harness.event(job_id, "resumed")["step"] > 0
    assert harness.checkpoints(job_id)[-1].digest == digest
    assert harness.job(job_id).fruitless_attempts <= 1


def test_a_long_training_yields_to_a_short_one_and_ends_with_the_same_digest(
    sqlite_harness: WorkerHarness, expected_digest: str
) -> None:
    harness = sqlite_harness
    long = harness.train(epochs=EPOCHS)
    until(lambda: harness.job(long).status == "running", "its start")
    short = harness.train(epochs=1, user="grace")
    harness.wait_until_succeeded(short)
    assert harness.job(long).finished_at is None, "the short job does not wait for the long one"
    harness.wait_until_succeeded(long, seconds=120)
    assert harness.event(long, "queued")["reason"] == "yielded"
    assert harness.event(long, "queued")["seconds"] >= QUANTUM_SECONDS
    assert_resumed_exactly(harness, long, expected_digest)


def test_a_paused_training_stands_still_and_ends_with_the_same_digest(
    sqlite_harness: WorkerHarness, expected_digest: str
) -> None:
    harness = sqlite_harness
    job_id = harness.train(epochs=EPOCHS)
    harness.first_checkpoint(job_id)
    assert harness.pause(job_id) == "running"
    until(lambda: harness.job(job_id).status == "paused", "the pause", 20)
    step = harness.checkpoints(job_id)[-1].step
    harness.wait_until_succeeded(harness.train(epochs=1))
    assert harness.checkpoints(job_id)[-1].step == step
    harness.resume(job_id)
    harness.wait_until_succeeded(job_id, seconds=120)
    assert harness.event(job_id, "resumed")["step"] == step
    assert_resumed_exactly(harness, job_id, expected_digest)


def test_a_deadline_ends_a_training_and_keeps_its_checkpoints(
    sqlite_harness: WorkerHarness, worker: Worker
) -> None:
    harness = sqlite_harness
    job_id = harness.train(epochs=5000, scheduling={"deadline_seconds": 3.0})
    after = harness.train(epochs=1, scheduling={"after_job_id": job_id})
    job = harness.wait_until_ended(job_id, seconds=60)
    assert job.error is not None
    assert job.error["type"] == "/problems/deadline-reached"
    assert job.progress is not None
    assert harness.checkpoints(job_id)[-1].step >= job.progress["step"]
    assert harness.job(after).status == "failed"


def test_a_generation_after_a_training_uses_its_last_checkpoint(
    sqlite_harness: WorkerHarness, worker: Worker
) -> None:
    harness = sqlite_harness
    training = harness.train(epochs=2)
    model_id = harness.job(training).model_id
    assert model_id
    text = harness.generate(model_id, checkpoint="latest", scheduling={"after_job_id": training})
    harness.wait_until_succeeded(text)
    [last] = {row.checkpoint_id for row in harness.texts(text)}
    assert last == harness.checkpoints(training)[-1].id
    assert harness.job(training).finished_at <= harness.job(text).started_at
