"""hung: a step that never ends, beside a heartbeat that goes on."""

import pytest

from tests.faults.conftest import HUNG_SECONDS
from tests.faults.parts import FAULT, digest, gone, train
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow


def test_hung(
    failpoint_harness: WorkerHarness,
    failpoint_worker: Worker,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = failpoint_harness, expected_digest(failpoint_harness)
    # Whoever killed the child in the test before: this one is alive.
    harness.wait_until_succeeded(train(harness, epochs=1), seconds=90)
    hung = harness.child_pid("train")
    job_id = train(harness, name=FAULT + "hung")
    harness.first_checkpoint(job_id)
    renewed = harness.job(job_id).lease_expires_at
    assert renewed is not None

    def lease_outlives_itself() -> bool:
        lease = harness.job(job_id).lease_expires_at
        assert lease is not None
        return (lease - renewed).total_seconds() > 2 * harness.queue.settings.lease_seconds

    until(lease_outlives_itself, "the heartbeats of a run that hangs")
    assert harness.job(job_id).attempt == 1
    until(lambda: gone(hung), "the end of the process", HUNG_SECONDS + 20)
    # Where it stood is in the log.
    assert "in _hang" in failpoint_worker.log
    assert harness.wait_until_succeeded(job_id, seconds=90).attempt == 2
    assert digest(harness, job_id) == expected
