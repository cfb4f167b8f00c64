"""Forecasts come true: they are compared with the order of the claims."""

import pytest
from sqlalchemy import select

from shared.scheduling.forecast import Forecast
from shared.scheduling.forecast_queries import UNKNOWN_SECONDS, own_jobs, places, read_forecast
from shared.settings import Settings
from shared.tables import PRIORITIES, Job, Kind
from shared.worker_registry import WorkerInfo, register
from tests.queue.conftest import QueueHarness

KINDS: tuple[Kind, ...] = ("train", "generate")
MANY = 1000


@pytest.fixture
def settings() -> Settings:
    return Settings(max_running_per_user=MANY, generate_jobs=4)


def served(harness: QueueHarness, user: str, seconds: float, **more: object) -> None:
    harness.change(user, served_seconds=seconds, served_at=harness.clock.now, **more)


def forecast_of(harness: QueueHarness, kind: Kind) -> Forecast:
    with harness.engine.connect() as connection:
        return read_forecast(connection, kind, harness.settings, harness.clock.now)


def forecast_order(harness: QueueHarness, kind: Kind) -> list[str]:
    """Return the jobs in their order; check that the owners see the same positions as everybody."""
    forecast = forecast_of(harness, kind)
    found: dict[int | None, tuple[str, str]] = {}
    own = {}
    with harness.engine.connect() as connection:
        for user_id in forecast.users:
            own[user_id] = iter(own_jobs(connection, kind, user_id, forecast.promoted))
            mine = connection.execute(
                select(Job.id, Job.blocked_by).where(
                    Job.user_id == user_id, Job.kind == kind, Job.status == "queued"
                )
            ).all()
            for job_id, place in places(connection, forecast, user_id, mine).items():
                found[place.position] = job_id, str(place.starts_at)
    turns = [
        (turn.job_id or next(own[turn.user_id]), str(turn.starts_at)) for turn in forecast.turns()
    ]
    assert found == dict(enumerate(turns, start=1))
    assert forecast.queued == len(turns)
    return [job_id for job_id, _ in turns]


def claim_order(harness: QueueHarness, kind: Kind) -> list[str]:
    """Claim all jobs one by one, and return them in that order."""
    slots = harness.settings.generate_jobs if kind == "generate" else 1
    found = []
    while claims := harness.queue.claim(kind, f"host/cpu/{kind}", 1, slots=slots):
        found += [claim.job_id for claim in claims]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_many_users_jobs_are_in_the_order_of_the_claims(harness: QueueHarness, kind: Kind) -> None:
    served(harness, "ada", 400)
    served(harness, "grace", 30)
    served(harness, "hedy", 1000, share=3.0)
    for count, user in enumerate(("ada", "grace", "hedy", "joan"), start=2):
        harness.submit(user, kind, count, PRIORITIES["low"])
        harness.submit(user, kind, 2)
    expected = forecast_order(harness, kind)
    assert len(expected) == 22
    assert claim_order(harness, kind) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_promoted_jobs_come_first_and_once_and_their_owners_are_charged(
    harness: QueueHarness, kind: Kind
) -> None:
    served(harness, "ada", 100)
    served(harness, "grace", 120)
    of_ada, of_grace = harness.submit("ada", kind, 4), harness.submit("grace", kind, 2)
    harness.promote(sorted(of_ada)[2])
    harness.clock.move(1)
    [only] = harness.submit("joan", kind)
    harness.promote(only)
    harness.clock.move(1)
    harness.promote(sorted(of_ada)[0])
    expected = forecast_order(harness, kind)
    assert expected[:3] == [sorted(of_ada)[2], only, sorted(of_ada)[0]]
    assert expected[3] in of_grace, "two of ada's jobs go before, and she is charged for them"
    assert claim_order(harness, kind) == expected


def test_users_whom_a_cap_stops_come_last_though_served_least(harness: QueueHarness) -> None:
    served(harness, "grace", 500)
    served(harness, "hedy", 400)
    capped = [*harness.submit("ada", count=2), *harness.submit("joan", count=2)]
    free = {*harness.submit("grace", count=2), *harness.submit("hedy", count=2)}
    harness.promote(capped[1])
    harness.change("ada", max_running=0)
    harness.change("joan", max_device_seconds_per_day=0.0)
    expected = forecast_order(harness, "train")
    assert set(expected[:4]) == free
    assert set(expected[4:]) == set(capped)
    assert claim_order(harness, "train") == expected[:4]


def test_a_promoted_job_takes_its_owner_s_last_free_slot(harness: QueueHarness) -> None:
    harness.change("ada", max_running=1)
    first, second, third = sorted(harness.submit("ada", count=3))
    served(harness, "grace", 500)
    [of_grace] = harness.submit("grace")
    harness.promote(third)
    assert forecast_order(harness, "train") == [third, of_grace, first, second]
    assert claim_order(harness, "train") == [third, of_grace]


def test_a_worker_runs_many_generations_at_once(harness: QueueHarness) -> None:
    register(
        harness.engine,
        WorkerInfo("host", "cpu", "generate", 1, {}),
        ready=True,
        clock=harness.clock,
    )
    harness.submit(kind="generate", count=2)
    assert len(harness.queue.claim("generate", "host/cpu/generate", 2, slots=4)) == 2
    harness.clock.move(0.5)
    harness.submit(kind="generate", count=7)
    forecast = forecast_of(harness, "generate")
    slice_seconds = UNKNOWN_SECONDS["generate"]
    assert (forecast.workers, forecast.running, forecast.queued) == (1, 2, 7)
    starts = [turn.starts_at for turn in forecast.turns()]
    waits = [(start - harness.clock.now).total_seconds() for start in starts if start is not None]
    assert waits == [0, 0, slice_seconds - 0.5, slice_seconds - 0.5, *[slice_seconds] * 2,
                     2 * slice_seconds - 0.5]  # fmt: skip
