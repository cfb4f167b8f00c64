"""Broken and quarantined devices, on every database."""

from dataclasses import replace

import pytest

from shared import device_health
from shared.device_health import LONGEST_RETRY_SECONDS, Health, Quarantine
from tests.queue.conftest import QueueHarness

RULE = Quarantine(faults=3, window_seconds=600, seconds=1800)
CARD = ("big", "gpu:0")


def problem(harness: QueueHarness) -> Health | None:
    return device_health.find_problem(harness.engine, *CARD, harness.clock)


def fault(harness: QueueHarness, reason: str = "illegal address", *, at_once: bool = False) -> bool:
    return device_health.record_fault(
        harness.engine, *CARD, reason, RULE, at_once=at_once, clock=harness.clock
    )


def test_failed_probes_are_repeated_at_growing_pauses(harness: QueueHarness) -> None:
    assert problem(harness) is None
    pauses = []
    for number in range(10):
        device_health.record_broken(harness.engine, *CARD, f"no {number}", harness.clock)
        found = problem(harness)
        assert found is not None
        assert (found.problem, found.quarantined) == (f"no {number}", False)
        pauses.append(found.seconds_left)
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == LONGEST_RETRY_SECONDS
    assert device_health.record_sound(harness.engine, *CARD, harness.clock)
    assert problem(harness) is None
    assert not device_health.record_sound(harness.engine, *CARD, harness.clock)


def test_errors_close_together_quarantine_and_others_do_not(harness: QueueHarness) -> None:
    for _ in range(5):
        assert not fault(harness)
        # A passed probe between two errors does not forget the first.
        device_health.record_sound(harness.engine, *CARD, harness.clock)
        harness.clock.move(301)
    assert not fault(harness)
    assert fault(harness, "ECC")
    found = problem(harness)
    assert found is not None
    assert found.quarantined
    assert found.problem == "3 errors in 600 s, the last: ECC"
    assert found.seconds_left == RULE.seconds
    # Another device of the host is not concerned.
    assert device_health.find_problem(harness.engine, "big", "gpu:1", harness.clock) is None
    harness.clock.move(1801)
    found = problem(harness)
    assert found is not None
    assert found.seconds_left == 0
    assert device_health.free(harness.engine, *CARD)
    assert problem(harness) is None
    assert not fault(harness)


def test_what_the_driver_reports_quarantines_at_once(harness: QueueHarness) -> None:
    assert fault(harness, "Xid 79", at_once=True)
    found = problem(harness)
    assert found is not None
    assert replace(found, seconds_left=0) == Health("Xid 79", True, 0)


@pytest.mark.parametrize("reason", ["x" * 5000, "ü\n" * 3000, "\x00 and more"])
def test_any_reason_can_be_kept(harness: QueueHarness, reason: str) -> None:
    fault(harness, reason)
    device_health.record_broken(harness.engine, *CARD, reason, harness.clock)
    assert problem(harness) is not None


def met(harness: QueueHarness, job_id: str, device: str, *, alone: bool = True) -> str:
    """Claim a job on a device, let the device fail under it, and return its status."""
    [claim] = harness.queue.claim("train", f"big/{device}/train")
    assert claim.job_id == job_id
    harness.queue.release_from_fault(claim, "CUDNN_STATUS_EXECUTION_FAILED")
    return harness.job(job_id).status


def test_a_failed_device_counts_no_attempt_and_a_bad_one_fails_no_job(
    harness: QueueHarness,
) -> None:
    [job_id] = harness.submit()
    for _ in range(5):
        assert met(harness, job_id, "gpu:0") == "queued"
        assert harness.job(job_id).fruitless_attempts == 0
    assert met(harness, job_id, "gpu:0") == "failed"
    error = harness.job(job_id).error
    assert error is not None
    assert error["type"] == "/problems/device-failed"
    assert "6 runs of the job" in error["detail"]
    assert "CUDNN_STATUS_EXECUTION_FAILED" in error["detail"]


def test_a_job_under_which_several_devices_fail_is_what_breaks_them(
    harness: QueueHarness,
) -> None:
    [job_id] = harness.submit()
    assert met(harness, job_id, "gpu:0") == "queued"
    assert met(harness, job_id, "gpu:1") == "queued"
    assert met(harness, job_id, "gpu:0") == "failed"


def test_generations_that_shared_a_batch_run_alone_before_they_are_suspected(
    harness: QueueHarness,
) -> None:
    jobs = harness.submit(kind="generate", count=2)
    for claim in harness.queue.claim("generate", "big/gpu:0/generate", limit=2):
        harness.queue.release_from_fault(claim, "illegal address")
    assert all(harness.job(job).alone and harness.job(job).status == "queued" for job in jobs)
    assert len(harness.queue.claim("generate", "big/gpu:0/generate", limit=2)) == 1
