"""Several trainings on a device: what each is charged, and how slots count, on every database."""

import pytest

from shared import device_health
from shared.device_health import Quarantine
from shared.queue.types import Claim, LeaseDirectives
from shared.scheduling.forecast_queries import read_forecast
from shared.worker_registry import WorkerInfo, mean_slots, register
from tests.queue.conftest import QueueHarness

SLOTS = 2
WORKERS = tuple(
    WorkerInfo("host", "cpu", "train", 1, {}, slot=slot, slots=SLOTS) for slot in range(SLOTS)
)


def claim(harness: QueueHarness, slot: int = 0) -> list[Claim]:
    """Claim as the worker of a slot."""
    return harness.queue.claim("train", WORKERS[slot].id, device_slots=SLOTS)


def quantum(harness: QueueHarness) -> float:
    return harness.settings.quantum_seconds


def served(harness: QueueHarness, name: str) -> float:
    return float(harness.row(name).served_seconds)


def test_the_first_slot_has_the_name_that_a_whole_device_has() -> None:
    assert [worker.id for worker in WORKERS] == ["host/cpu/train", "host/cpu/train:1"]


def test_a_slot_costs_half_of_its_seconds_whether_its_neighbour_works_or_not(
    harness: QueueHarness,
) -> None:
    harness.submit("ada")
    [mine] = claim(harness)
    assert mine.charged_seconds == served(harness, "ada") == quantum(harness) / 2
    harness.clock.move(60)
    harness.submit("grace")
    [of_grace] = claim(harness, 1)
    harness.clock.move(60)
    harness.queue.succeed(mine)
    harness.queue.release(of_grace, seconds=50)
    assert served(harness, "ada") == pytest.approx(60, rel=0.01)
    assert harness.row("ada").used_seconds == pytest.approx(60)
    assert harness.row("grace").used_seconds == pytest.approx(25)
    # The time that a job ran is not divided.
    assert harness.job(mine.job_id).ran_seconds == 120
    # Elsewhere the rest costs all of its seconds.
    [again] = harness.claim()
    harness.clock.move(10)
    harness.queue.succeed(again)
    assert harness.row("grace").used_seconds == pytest.approx(35)


def test_a_rescue_charges_a_slot_s_part_too(harness: QueueHarness) -> None:
    harness.submit("ada")
    [mine] = claim(harness)
    harness.clock.move(harness.settings.lease_seconds + 20)
    assert [rescued.job_id for rescued in harness.queue.rescue()] == [mine.job_id]
    assert harness.row("ada").used_seconds == pytest.approx(40)


def test_what_a_slot_has_held_beyond_its_charge_counts_by_its_part(harness: QueueHarness) -> None:
    harness.change("ada", max_running=9)
    harness.submit("ada", count=2)
    claim(harness)
    harness.clock.move(3600)
    harness.change("grace", served_seconds=1700.0, served_at=harness.clock.now)
    harness.change("hedy", served_seconds=1900.0, served_at=harness.clock.now)
    harness.submit("hedy")
    harness.submit("grace")
    owners = [each.user_id for _ in range(3) for each in claim(harness, 1)]
    assert owners == [harness.user(name) for name in ("grace", "ada", "hedy")]


def test_a_day_s_cap_counts_a_slot_s_part_and_other_caps_count_jobs(harness: QueueHarness) -> None:
    harness.change("ada", max_running=2, max_device_seconds_per_day=1.1 * quantum(harness))
    harness.submit("ada", count=3)
    [first], [second] = claim(harness), claim(harness, 1)
    assert claim(harness) == [], "two jobs run"
    harness.clock.move(quantum(harness))
    assert harness.queue.heartbeat(first) == LeaseDirectives()
    harness.clock.move(0.2 * quantum(harness))
    assert harness.queue.heartbeat(first).yield_, "two halves of 1.2 quanta are more than 1.1"
    assert harness.queue.heartbeat(second).yield_


def test_a_training_yields_once_no_slot_is_free(harness: QueueHarness) -> None:
    for worker in WORKERS:
        register(harness.engine, worker, ready=True, clock=harness.clock)
    harness.submit("ada")
    [mine] = claim(harness)
    harness.clock.move(quantum(harness))
    register(harness.engine, WORKERS[1], ready=True, clock=harness.clock)
    harness.submit("grace")
    assert not harness.queue.heartbeat(mine).yield_, "the other slot will claim the job"
    [of_grace] = claim(harness, 1)
    harness.submit("hedy")
    assert harness.queue.heartbeat(mine).yield_
    assert not harness.queue.heartbeat(of_grace).yield_, "it has not had its quantum"
    harness.queue.release(mine, "yielded")
    assert [each.user_id for each in claim(harness)] == [harness.user("hedy")]


def test_the_forecast_counts_slots_and_their_charges(harness: QueueHarness) -> None:
    for worker in WORKERS:
        register(harness.engine, worker, ready=True, clock=harness.clock)
    # One device of two slots charges half a quantum: grace has three turns before ada's first.
    harness.change("ada", served_seconds=1.2 * quantum(harness), served_at=harness.clock.now)
    harness.change("grace", max_running=9)
    harness.submit("ada")
    harness.submit("grace", count=4)
    with harness.engine.connect() as connection:
        found = read_forecast(connection, "train", harness.settings, harness.clock.now)
    assert (found.workers, found.slots) == (2, 2)
    foreseen = [turn.user_id for turn in found.turns()]
    assert foreseen == [each.user_id for _ in range(5) for each in claim(harness)]
    assert foreseen.index(harness.user("ada")) == 3
    starts = [turn.starts_at for turn in found.turns()]
    assert starts[0] == starts[1] == harness.clock.now, "both slots are free"


def test_devices_of_different_slots_charge_what_they_do_on_the_average(
    harness: QueueHarness,
) -> None:
    def mean() -> float:
        with harness.engine.connect() as connection:
            return mean_slots(connection, "train", harness.clock.now, 60)

    assert mean() == 1
    for worker in (*WORKERS, WorkerInfo("host", "cpu:1", "train", 1, {})):
        register(harness.engine, worker, ready=True, clock=harness.clock)
    assert mean() == 1.5


def test_errors_that_reach_all_slots_at_once_are_one(harness: QueueHarness) -> None:
    rule = Quarantine(faults=2, window_seconds=600, seconds=1800, together_seconds=10)

    def fault() -> bool:
        return device_health.record_fault(
            harness.engine, "big", "gpu:0", "illegal address", rule, clock=harness.clock
        )

    assert not any(fault() for _ in range(4))
    harness.clock.move(9)
    assert not fault()
    harness.clock.move(2)
    assert fault()
