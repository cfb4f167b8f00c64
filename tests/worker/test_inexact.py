"""A training that resumes where results differ in some bits works, and is marked as inexact."""

import pytest

from tests.worker.harness import THREADS, WorkerHarness, until

pytestmark = pytest.mark.slow


def test_a_resume_with_other_threads_works_and_is_marked(sqlite_harness: WorkerHarness) -> None:
    harness = sqlite_harness
    with harness.worker():
        job_id = harness.train(epochs=120, keep=1000)
        harness.first_checkpoint(job_id)
        assert harness.pause(job_id) == "running"
        until(lambda: harness.job(job_id).status == "paused", "the pause")
        stopped_at = harness.checkpoints(job_id)[-1].step
        assert "inexact" not in harness.events(job_id)
    with harness.worker(variables={"QUIRE_TRAIN_THREADS": str(THREADS + 1)}):
        harness.resume(job_id)
        job = harness.wait_until_succeeded(job_id)
    assert harness.event(job_id, "resumed")["step"] == stopped_at
    [event] = harness.events_of_attempt(job_id, "inexact", job.attempt)
    assert event == {"threads": {"was": THREADS, "is": THREADS + 1}}
    for checkpoint in harness.checkpoints(job_id):
        assert checkpoint.exact is (checkpoint.step <= stopped_at)
        threads = THREADS if checkpoint.exact else THREADS + 1
        assert checkpoint.fingerprint["threads"] == threads
    assert harness.checkpoints(job_id)[-1].step > stopped_at


def test_a_training_with_other_threads_than_requested_is_marked(
    sqlite_harness: WorkerHarness,
) -> None:
    harness = sqlite_harness
    with harness.worker(variables={"QUIRE_TRAIN_THREADS": str(THREADS + 1)}):
        job = harness.wait_until_succeeded(harness.train(epochs=1))
    [event] = harness.events_of_attempt(job.id, "inexact", job.attempt)
    assert event == {"threads": {"asked": THREADS, "got": THREADS + 1}}
    assert not any(checkpoint.exact for checkpoint in harness.checkpoints(job.id))
