"""A short day of thirty users with the real queue: who gets the devices, and when.

The whole day, and what a claim takes, is `python -m benchmarks.fairness`.
"""

import pytest

from benchmarks.fairness import (
    IDLE_SHARE,
    LAG_QUANTA,
    LIGHT_WAIT_QUANTA,
    SHARE_ERROR,
    SWITCH_SHARE,
    p95,
)
from benchmarks.support.policies import QUANTUM_SECONDS, Fifo, RealQueue, SimulatedClock
from benchmarks.support.simulated_day import Day, Simulation
from shared.database import make_engine
from tests.services.postgres import Databases

pytestmark = pytest.mark.slow

#: Long enough on each number of devices that a lot is served.
HOURS = {1: 8.0, 4: 3.0, 16: 1.0}


@pytest.mark.parametrize("devices", HOURS)
def test_everybody_has_their_part_of_the_devices(
    migrated_postgres: Databases, devices: int
) -> None:
    with migrated_postgres.fresh() as url:
        engine, clock = make_engine(url), SimulatedClock()
        day = Simulation(RealQueue(engine, clock), devices, HOURS[devices], clock).run()
        engine.dispose()
    assert lag(day, devices) <= LAG_QUANTA
    assert light_wait(day) <= LIGHT_WAIT_QUANTA
    assert day.idle_seconds <= IDLE_SHARE * day.busy_seconds
    assert day.yields > 0
    assert day.switch_seconds <= SWITCH_SHARE * day.busy_seconds
    # What is allowed in a day is more in a part of it: a quantum is a larger piece of it.
    assert day.share_error() <= SHARE_ERROR * 24 / HOURS[devices]


def test_whose_share_is_two_has_twice_as_much(migrated_postgres: Databases) -> None:
    shares, hours = {"heavy0": 2.0, "flood": 0.5}, 24.0
    with migrated_postgres.fresh() as url:
        engine, clock = make_engine(url), SimulatedClock()
        day = Simulation(RealQueue(engine, clock, shares), 1, hours, clock, shares).run()
        engine.dispose()
    assert day.share_error() <= SHARE_ERROR
    assert day.served["heavy0"] / day.served["heavy1"] == pytest.approx(2, rel=2 * SHARE_ERROR)


def test_a_list_would_be_noticed() -> None:
    """The same day, first come, first served: what is asserted above can fail."""
    day = Simulation(Fifo(), 1, HOURS[1], SimulatedClock()).run()
    assert lag(day, 1) > LAG_QUANTA
    assert light_wait(day) > LIGHT_WAIT_QUANTA
    assert day.share_error() > SHARE_ERROR * 24 / HOURS[1]


def lag(day: Day, devices: int) -> float:
    """The most that somebody was behind, in quanta per device."""
    return day.lag_seconds / QUANTUM_SECONDS / devices


def light_wait(day: Day) -> float:
    """What most light users waited beyond those ahead of them, in quanta."""
    return p95(day.light_waits) / QUANTUM_SECONDS
