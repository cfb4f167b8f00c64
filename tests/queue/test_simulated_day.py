"""A shortened day of thirty users on the real queue: who gets the devices, and when.

`python -m benchmarks.fairness` simulates the whole day, and measures the time of a claim.
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

#: Simulated hours by number of devices, long enough that many jobs run.
HOURS = {1: 8.0, 4: 3.0, 16: 1.0}


@pytest.mark.parametrize("devices", HOURS)
def test_every_user_gets_a_fair_share_of_the_devices(
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
    # The bound for a whole day grows for a part of it, of which a quantum is a larger share.
    assert day.share_error() <= SHARE_ERROR * 24 / HOURS[devices]


def test_a_share_of_two_gets_twice_the_device_time(migrated_postgres: Databases) -> None:
    shares, hours = {"heavy0": 2.0, "flood": 0.5}, 24.0
    with migrated_postgres.fresh() as url:
        engine, clock = make_engine(url), SimulatedClock()
        day = Simulation(RealQueue(engine, clock, shares), 1, hours, clock, shares).run()
        engine.dispose()
    assert day.share_error() <= SHARE_ERROR
    assert day.served["heavy0"] / day.served["heavy1"] == pytest.approx(2, rel=2 * SHARE_ERROR)


def test_first_come_first_served_would_be_noticed() -> None:
    """The assertions above fail for the same day served first come, first served."""
    day = Simulation(Fifo(), 1, HOURS[1], SimulatedClock()).run()
    assert lag(day, 1) > LAG_QUANTA
    assert light_wait(day) > LIGHT_WAIT_QUANTA
    assert day.share_error() > SHARE_ERROR * 24 / HOURS[1]


def lag(day: Day, devices: int) -> float:
    """The most that a user lagged behind the fair share, in quanta per device."""
    return day.lag_seconds / QUANTUM_SECONDS / devices


def light_wait(day: Day) -> float:
    """The 95th percentile of light users' waits beyond the jobs ahead of them, in quanta."""
    return p95(day.light_waits) / QUANTUM_SECONDS
