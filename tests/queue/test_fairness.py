"""The scheduling policy, as the order of the claims shows it."""

import pytest
from sqlalchemy import select, update

from shared.scheduling.accounting import decayed
from shared.tables import PRIORITIES, User
from tests.queue.conftest import QueueHarness


def served(harness: QueueHarness, name: str) -> float:
    user_id = harness.user(name)
    with harness.engine.connect() as connection:
        query = select(User.served_seconds).where(User.id == user_id)
        return float(connection.scalars(query).one())


def test_equally_served_users_go_first_come_first_served(harness: QueueHarness) -> None:
    first, second = harness.submit("grace")[0], harness.submit("ada")[0]
    assert [claim.job_id for claim in harness.claim(limit=2)] == [first, second]


def test_the_least_served_goes_first(harness: QueueHarness) -> None:
    harness.submit("ada")
    [claim] = harness.claim()
    harness.clock.move(100)
    harness.queue.succeed(claim)
    harness.submit("ada")
    [of_grace] = harness.submit("grace")
    assert [claim.job_id for claim in harness.claim()] == [of_grace]


def test_a_claim_charges_a_quantum_and_the_end_settles(harness: QueueHarness) -> None:
    harness.submit("ada")
    [claim] = harness.claim()
    assert served(harness, "ada") == harness.settings.quantum_seconds
    harness.clock.move(12)
    harness.queue.succeed(claim)
    assert abs(served(harness, "ada") - 12) < 0.1


def test_service_is_halved_every_half_life(harness: QueueHarness) -> None:
    now = harness.clock.now
    harness.clock.move(harness.settings.half_life_seconds)
    assert decayed(100, now, harness.clock.now, harness.settings.half_life_seconds) == 50


def test_twice_the_share_is_served_twice(harness: QueueHarness) -> None:
    ada = harness.user("ada")
    with harness.engine.begin() as connection:
        connection.execute(update(User).where(User.id == ada).values(share=2.0))
    harness.submit("ada", "generate", 20)
    harness.submit("grace", "generate", 20)
    names = [claim.user_id for claim in harness.claim("generate", limit=9)]
    assert (names.count(harness.user("ada")), names.count(harness.user("grace"))) == (6, 3)


def test_priority_orders_a_user_s_own_jobs_only(harness: QueueHarness) -> None:
    [normal] = harness.submit("ada")
    [high] = harness.submit("ada", priority=PRIORITIES["high"])
    [of_grace] = harness.submit("grace", priority=PRIORITIES["low"])
    assert [claim.job_id for claim in harness.claim(limit=3)] == [high, of_grace, normal]


def test_a_user_s_own_cap_of_running_jobs_counts_trainings_only(harness: QueueHarness) -> None:
    ada = harness.user("ada")
    with harness.engine.begin() as connection:
        connection.execute(update(User).where(User.id == ada).values(max_running=1))
    harness.submit("ada", "train", 3)
    harness.submit("ada", "generate", 3)
    assert len(harness.claim("train", 5)) == 1
    assert len(harness.claim("generate", 5)) == 3


def test_a_disabled_user_s_jobs_wait(harness: QueueHarness) -> None:
    harness.submit("ada")
    with harness.engine.begin() as connection:
        ada = update(User).where(User.id == harness.users["ada"])
        connection.execute(ada.values(disabled_at=harness.clock.now))
    assert harness.claim() == []


def test_a_long_training_counts_beyond_its_charge(harness: QueueHarness) -> None:
    """Time that a running training has held beyond its charge counts as service."""
    harness.submit("ada", count=2)
    harness.claim()
    harness.clock.move(3600)
    harness.change("grace", served_seconds=1800.0, served_at=harness.clock.now)
    [of_grace] = harness.submit("grace")
    assert [claim.job_id for claim in harness.claim()] == [of_grace]


def test_thirty_jobs_in_one_batch_pay_a_thirtieth_each(harness: QueueHarness) -> None:
    names = [f"user{number}" for number in range(30)]
    for name in names:
        harness.submit(name, "generate")
    claims = harness.claim("generate", limit=30)
    quantum = harness.settings.quantum_seconds
    assert [round(served(harness, name), 6) for name in names] == [quantum / 30] * 30
    harness.clock.move(60)
    seconds = {claim.job_id: 60 / 30 for claim in claims}
    assert harness.queue.finish([(claim, ()) for claim in claims], seconds=seconds).lost == []
    assert all(abs(served(harness, name) - 2) < 0.1 for name in names)
    assert harness.row("user7").used_seconds == pytest.approx(2)


def test_a_slot_is_charged_its_share_however_few_slots_are_free(harness: QueueHarness) -> None:
    harness.submit("ada", "generate")
    harness.queue.claim("generate", "host/cpu/generate", 1, slots=64)
    assert served(harness, "ada") == harness.settings.quantum_seconds / 64


def test_a_user_is_charged_at_most_the_time_that_passed(harness: QueueHarness) -> None:
    harness.submit("ada", "generate")
    [claim] = harness.claim("generate")
    harness.clock.move(3)
    harness.queue.succeed(claim, seconds=1000)
    assert abs(served(harness, "ada") - 3) < 0.1


def test_a_promoted_job_goes_first_and_its_owner_s_cap_holds(harness: QueueHarness) -> None:
    harness.change("ada", max_running=1)
    [first] = harness.submit("grace")
    jobs = harness.submit("ada", count=3)
    assert harness.promote(jobs[2]) == "queued"
    harness.clock.move(1)
    assert harness.promote(jobs[1]) == "queued"
    assert [claim.job_id for claim in harness.claim(limit=5)] == [jobs[2], first]
    assert harness.events(jobs[2])[:2] == ["submitted", "lifted"]
