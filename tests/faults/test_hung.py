"""hung: a step that never ends, beside a heartbeat that goes on."""

from collections.abc import Callable

import pytest

from tests.faults.conftest import HUNG_SECONDS
from tests.faults.parts import FAULT, digest, gone, train
from tests.worker.harness import Worker, World, until

pytestmark = pytest.mark.slow


def test_hung(mortal: World, mortal_worker: Worker, undisturbed: Callable[[World], str]) -> None:
    world, wanted = mortal, undisturbed(mortal)
    # Whoever killed the child in the test before: this one is alive.
    world.succeeded(train(world, epochs=1), seconds=90)
    hung = world.child("train")
    job_id = train(world, name=FAULT + "hung")
    world.first_checkpoint(job_id)
    renewed = world.job(job_id).lease_expires_at
    assert renewed is not None

    def lease_outlives_itself() -> bool:
        lease = world.job(job_id).lease_expires_at
        assert lease is not None
        return (lease - renewed).total_seconds() > 2 * world.queue.settings.lease_seconds

    until(lease_outlives_itself, "the heartbeats of a run that hangs")
    assert world.job(job_id).attempt == 1
    until(lambda: gone(hung), "the end of the process", HUNG_SECONDS + 20)
    # Where it stood is in the log.
    assert "in _hang" in mortal_worker.log
    assert world.succeeded(job_id, seconds=90).attempt == 2
    assert digest(world, job_id) == wanted
