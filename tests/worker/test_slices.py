"""Slices of a device, with a real worker whose quantum is two seconds."""

from collections.abc import Iterator

import pytest

from tests.worker.harness import Worker, World, until

pytestmark = pytest.mark.slow

#: Some seconds of training: longer than a quantum, in epochs of a fraction of a second.
EPOCHS = 120
QUANTUM_SECONDS = 2


@pytest.fixture(scope="module")
def worker(sqlite_world: World) -> Iterator[Worker]:
    variables = {"QUIRE_QUANTUM_SECONDS": str(QUANTUM_SECONDS)}
    with sqlite_world.worker(variables=variables) as worker:
        yield worker


@pytest.fixture(scope="module")
def undisturbed(sqlite_world: World, worker: Worker) -> str:
    """The digest of a training that nobody interrupts."""
    job_id = sqlite_world.train(epochs=EPOCHS)
    sqlite_world.succeeded(job_id, seconds=120)
    assert "yield_requested" not in sqlite_world.events(job_id)
    return sqlite_world.checkpoints(job_id)[-1].digest


def assert_resumed_exactly(world: World, job_id: str, digest: str) -> None:
    events = world.events(job_id)
    assert "resumed" in events
    assert "inexact" not in events
    assert world.event(job_id, "resumed")["step"] > 0
    assert world.checkpoints(job_id)[-1].digest == digest
    assert world.job(job_id).fruitless_attempts <= 1


def test_a_long_training_lets_a_short_one_in_and_ends_as_if_it_had_not(
    sqlite_world: World, undisturbed: str
) -> None:
    world = sqlite_world
    long = world.train(epochs=EPOCHS)
    until(lambda: world.job(long).status == "running", "its start")
    short = world.train(epochs=1, user="grace")
    world.succeeded(short)
    assert world.job(long).finished_at is None, "the short one did not wait for its end"
    world.succeeded(long, seconds=120)
    assert world.event(long, "queued")["reason"] == "yielded"
    assert world.event(long, "queued")["seconds"] >= QUANTUM_SECONDS
    assert_resumed_exactly(world, long, undisturbed)


def test_a_paused_training_stands_still_and_ends_as_if_it_had_not(
    sqlite_world: World, undisturbed: str
) -> None:
    world = sqlite_world
    job_id = world.train(epochs=EPOCHS)
    world.first_checkpoint(job_id)
    assert world.pause(job_id) == "running"
    until(lambda: world.job(job_id).status == "paused", "the pause", 20)
    step = world.checkpoints(job_id)[-1].step
    world.succeeded(world.train(epochs=1))
    assert world.checkpoints(job_id)[-1].step == step
    world.resume(job_id)
    world.succeeded(job_id, seconds=120)
    assert world.event(job_id, "resumed")["step"] == step
    assert_resumed_exactly(world, job_id, undisturbed)


def test_a_deadline_ends_a_training_and_keeps_what_it_has_done(
    sqlite_world: World, worker: Worker
) -> None:
    world = sqlite_world
    job_id = world.train(epochs=5000, order={"deadline_seconds": 3.0})
    after = world.train(epochs=1, order={"after_job_id": job_id})
    job = world.ended(job_id, seconds=60)
    assert job.error is not None
    assert job.error["type"] == "/problems/deadline-reached"
    assert job.progress is not None
    assert world.checkpoints(job_id)[-1].step >= job.progress["step"]
    assert world.job(after).status == "failed"


def test_texts_are_written_when_the_training_that_they_come_after_is_done(
    sqlite_world: World, worker: Worker
) -> None:
    world = sqlite_world
    training = world.train(epochs=2)
    model_id = world.job(training).model_id
    assert model_id
    text = world.generate(model_id, checkpoint="latest", order={"after_job_id": training})
    world.succeeded(text)
    [last] = {row.checkpoint_id for row in world.texts(text)}
    assert last == world.checkpoints(training)[-1].id
    assert world.job(training).finished_at <= world.job(text).started_at
