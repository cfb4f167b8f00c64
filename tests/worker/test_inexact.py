"""A training that goes on where other bits come out: it works, and says so."""

import pytest

from tests.worker.harness import THREADS, World, until

pytestmark = pytest.mark.slow


def test_a_resume_with_other_threads_works_and_is_labelled(world: World) -> None:
    with world.worker():
        job_id = world.train(epochs=120, keep=1000)
        world.first_checkpoint(job_id)
        assert world.pause(job_id) == "running"
        until(lambda: world.job(job_id).status == "paused", "the pause")
        stopped_at = world.checkpoints(job_id)[-1].step
        assert "inexact" not in world.events(job_id)
    with world.worker(variables={"QUIRE_TRAIN_THREADS": str(THREADS + 1)}):
        world.resume(job_id)
        job = world.succeeded(job_id)
    assert world.event(job_id, "resumed")["step"] == stopped_at
    [told] = world.told(job_id, "inexact", job.attempt)
    assert told == {"threads": {"was": THREADS, "is": THREADS + 1}}
    for checkpoint in world.checkpoints(job_id):
        assert checkpoint.exact is (checkpoint.step <= stopped_at)
        threads = THREADS if checkpoint.exact else THREADS + 1
        assert checkpoint.fingerprint["threads"] == threads
    assert world.checkpoints(job_id)[-1].step > stopped_at


def test_a_training_on_other_threads_than_asked_for_is_labelled(sqlite_world: World) -> None:
    world = sqlite_world
    with world.worker(variables={"QUIRE_TRAIN_THREADS": str(THREADS + 1)}):
        job = world.succeeded(world.train(epochs=1))
    [told] = world.told(job.id, "inexact", job.attempt)
    assert told == {"threads": {"asked": THREADS, "got": THREADS + 1}}
    assert not any(checkpoint.exact for checkpoint in world.checkpoints(job.id))
