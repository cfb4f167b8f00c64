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
