"""hung: a step never ends, while the heartbeat goes on."""

import pytest

from tests.faults.conftest import HUNG_SECONDS, ExpectedDigest
from tests.faults.parts import FAULT, digest, gone, train
from tests.worker.harness import Worker, WorkerHarness, until

pytestmark = pytest.mark.slow


def test_hung(
    failpoint_harness: WorkerHarness,
    failpoint_worker: Worker,
    expected_digest: ExpectedDigest,
) -> None:
    harness, expected = failpoint_harness, expected_digest(failpoint_harness)
    # An earlier test may have killed the child; after this job a live one is there.
    harness.wait_until_succeeded(train(harness, epochs=1), seconds=90)
    hung = harness.child_pid("train")
    job_id = train(harness, name=FAULT + "hung")
    harness.first_checkpoint(job_id)
    first_expiry = harness.job(job_id).lease_expires_at
    assert first_expiry is not None

    def lease_was_renewed() -> bool:
        expires_at = harness.job(job_id).lease_expires_at
        assert expires_at is not None
        return (
            expires_at - first_expiry
        ).total_seconds() > 2 * harness.queue.settings.lease_seconds

    until(lease_was_renewed, "the heartbeats of a run that hangs")
    assert harness.job(job_id).attempt == 1
    until(lambda: gone(hung), "the end of the process", HUNG_SECONDS + 20)
    # The log shows where it hung.
    until(lambda: "in _hang" in failpoint_worker.log, "the place in the log", 20)
    assert harness.wait_until_succeeded(job_id, seconds=90).attempt == 2
    assert digest(harness, job_id) == expected
