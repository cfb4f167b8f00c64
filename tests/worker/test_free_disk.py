"""A training whose checkpoint waits for free disk."""

import pytest

from tests.worker.harness import WorkerHarness, until

pytestmark = pytest.mark.slow

FLOOR = {"QUIRE_MIN_FREE_BYTES": str(2**50)}


def test_a_checkpoint_waits_for_free_disk_and_the_history_says_why(
    sqlite_harness: WorkerHarness,
) -> None:
    harness = sqlite_harness
    with harness.worker(variables=FLOOR) as worker:
        waiting = harness.train()
        until(lambda: harness.count(waiting, "checkpoint_waits"), "a checkpoint that waits")
        assert "QUIRE_MIN_FREE_BYTES" in harness.event(waiting, "checkpoint_waits")["reason"]
        assert harness.job(waiting).status == "running"
        assert harness.checkpoints(waiting) == []
        # A wait keeps no worker from stopping.
        worker.stop()
    assert harness.job(waiting).status == "queued"
    assert harness.count(waiting, "checkpoint_waits") == 1
