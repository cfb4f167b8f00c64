"""poison: a job that kills its worker every time."""

import pytest

from tests.faults.parts import FAULT, train
from tests.worker.harness import Worker, World

pytestmark = pytest.mark.slow


def test_poison(mortal: World, mortal_worker: Worker) -> None:
    world = mortal
    poison = train(world, name=FAULT + "poison", epochs=1)
    other = train(world, epochs=1)
    job = world.ended(poison, seconds=120)
    assert job.status == "failed"
    assert job.attempt == world.count(poison, "claimed") == world.queue.settings.max_attempts
    assert job.error is not None
    assert job.error["type"] == "/problems/worker-lost"
    assert "3 attempts ended without progress" in job.error["detail"]
    world.succeeded(other, seconds=90)
    assert world.count(other, "claimed") == 1


def test_poison_in_a_batch(mortal: World, mortal_worker: Worker) -> None:
    world = mortal
    model = world.succeeded(world.train(), seconds=90).model_id
    assert model
    # Without a wake, so that one claim takes all of them.
    poison = world.generate(model, name=FAULT + "poison", wake=False)
    mates = [world.generate(model, wake=False) for _ in range(3)]
    world.broker.wake("generate", poison)
    for mate in mates:
        assert world.succeeded(mate, seconds=120).attempt == 2
    job = world.ended(poison, seconds=120)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["type"] == "/problems/worker-lost"
    # Once beside the others, which counts for nobody, and then alone.
    assert job.attempt == world.queue.settings.max_attempts + 1
