"""child_dies: the process in which a job runs is killed, at each point that matters."""

from collections.abc import Callable

import pytest

from shared.settings import Settings
from tests.faults.parts import FAULT, digest, train
from tests.worker.harness import Worker, World

pytestmark = pytest.mark.slow

#: A lease of 2 s, a sweep of 0.5 s, and a machine that is busy.
RECOVERY_SECONDS = 20.0


@pytest.mark.parametrize(
    "point", ["after-claim", "mid-step", "mid-checkpoint", "before-finish", "after-finish"]
)
def test_child_dies(
    point: str, mortal: World, mortal_worker: Worker, undisturbed: Callable[[World], str]
) -> None:
    world, wanted = mortal, undisturbed(mortal)
    job_id = train(world, name=FAULT + point)
    job = world.succeeded(job_id, seconds=90)
    assert digest(world, job_id) == wanted
    events = world.events(job_id)
    assert "inexact" not in events
    assert events.count("succeeded") == 1
    if point == "after-finish":
        assert job.attempt == events.count("claimed") == 1
        return
    assert job.attempt == events.count("claimed") == 2
    assert ("resumed" in events) == (point != "after-claim")
    # The rescue came when the lease had run out, and soon after.
    moments = {kind: at for kind, at in reversed(world.moments(job_id))}
    lost = (moments["queued"] - moments["claimed"]).total_seconds()
    assert world.queue.settings.lease_seconds <= lost < RECOVERY_SECONDS


def test_child_dies_with_texts(mortal: World, mortal_worker: Worker) -> None:
    world = mortal
    training = train(world, epochs=1)
    world.succeeded(training, seconds=90)
    model_id = world.job(training).model_id
    assert model_id
    calm = world.generate(model_id, n=2)
    world.succeeded(calm)
    job_id = world.generate(model_id, n=2, name=FAULT + "before-finish")
    assert world.succeeded(job_id, seconds=90).attempt == 2
    written = [(text.position, text.text) for text in world.texts(job_id)]
    assert written == [(text.position, text.text) for text in world.texts(calm)]


def test_recovery_starts_within_90_seconds_by_default() -> None:
    # The last heartbeat came just before the end, and the sweep just before the lease ran out.
    defaults = Settings()
    assert defaults.lease_seconds + defaults.sweep_seconds <= 90
