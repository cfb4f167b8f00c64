"""child_dies: the process in which a job runs is killed, at every critical point."""

import pytest

from shared.settings import Settings
from tests.faults.conftest import ExpectedDigest
from tests.faults.parts import FAULT, digest, train
from tests.worker.harness import Worker, WorkerHarness

pytestmark = pytest.mark.slow

#: A lease of 2 s, a sweep of 0.5 s, and time for a busy machine.
RECOVERY_SECONDS = 20.0


@pytest.mark.parametrize(
    "point", ["after-claim", "mid-step", "mid-checkpoint", "before-finish", "after-finish"]
)
def test_child_dies(
    point: str,
    failpoint_harness: WorkerHarness,
    failpoint_worker: Worker,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = failpoint_harness, expected_digest(failpoint_harness)
    job_id = train(harness, name=FAULT + point)
    job = harness.wait_until_succeeded(job_id, seconds=90)
    assert digest(harness, job_id) == expected
    events = harness.events(job_id)
    assert "inexact" not in events
    assert events.count("succeeded") == 1
    if point == "after-finish":
        assert job.attempt == events.count("claimed") == 1
        return
    assert job.attempt == events.count("claimed") == 2
    assert ("resumed" in events) == (point != "after-claim")
    # The rescue came after the lease had expired, and soon after.
    times = {kind: at for kind, at in reversed(harness.timeline(job_id))}
    lost = (times["queued"] - times["claimed"]).total_seconds()
    assert harness.queue.settings.lease_seconds <= lost < RECOVERY_SECONDS


def test_child_dies_with_texts(failpoint_harness: WorkerHarness, failpoint_worker: Worker) -> None:
    harness = failpoint_harness
    training = train(harness, epochs=1)
    harness.wait_until_succeeded(training, seconds=90)
    model_id = harness.job(training).model_id
    assert model_id
    undisturbed = harness.generate(model_id, n=2)
    harness.wait_until_succeeded(undisturbed)
    job_id = harness.generate(model_id, n=2, name=FAULT + "before-finish")
    assert harness.wait_until_succeeded(job_id, seconds=90).attempt == 2
    written = [(text.position, text.text) for text in harness.texts(job_id)]
    assert written == [(text.position, text.text) for text in harness.texts(undisturbed)]


def test_recovery_starts_within_90_seconds_by_default() -> None:
    # At worst the last heartbeat came just before the end, and a sweep just before the expiry.
    defaults = Settings()
    assert defaults.lease_seconds + defaults.sweep_seconds <= 90
