"""poison: a job kills its worker in every attempt."""

import pytest

from tests.faults.parts import FAULT, train
from tests.worker.harness import Worker, WorkerHarness

pytestmark = pytest.mark.slow


def test_poison(failpoint_harness: WorkerHarness, failpoint_worker: Worker) -> None:
    harness = failpoint_harness
    poison = train(harness, name=FAULT + "poison", epochs=1)
    other = train(harness, epochs=1)
    job = harness.wait_until_ended(poison, seconds=120)
    assert job.status == "failed"
    assert job.attempt == harness.count(poison, "claimed") == harness.queue.settings.max_attempts
    assert job.error is not None
    assert job.error["type"] == "/problems/worker-lost"
    assert "3 attempts ended without progress" in job.error["detail"]
    harness.wait_until_succeeded(other, seconds=90)
    assert harness.count(other, "claimed") == 1


def test_poison_in_a_batch(failpoint_harness: WorkerHarness, failpoint_worker: Worker) -> None:
    harness = failpoint_harness
    model = harness.wait_until_succeeded(harness.train(), seconds=90).model_id
    assert model
    # No wake is sent before the last one, so that one claim takes all jobs.
    poison = harness.generate(model, name=FAULT + "poison", wake=False)
    others = [harness.generate(model, wake=False) for _ in range(3)]
    harness.broker.wake("generate", poison)
    for other in others:
        assert harness.wait_until_succeeded(other, seconds=120).attempt == 2
    job = harness.wait_until_ended(poison, seconds=120)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/worker-lost"
    # The first attempt, beside the others, counts against no job; the rest run alone.
    assert job.attempt == harness.queue.settings.max_attempts + 1
