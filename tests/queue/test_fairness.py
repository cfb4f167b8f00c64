"""Who runs next, told by the order of the claims."""

import pytest
from sqlalchemy import select, update

from shared.scheduling.accounting import decayed
from shared.tables import PRIORITIES, User
from tests.queue.conftest import World


def served(world: World, name: str) -> float:
    user_id = world.user(name)
    with world.engine.connect() as connection:
        query = select(User.served_seconds).where(User.id == user_id)
        return float(connection.scalars(query).one())


def test_first_come_among_equals(world: World) -> None:
    first, second = world.submit("grace")[0], world.submit("ada")[0]
    assert [claim.job_id for claim in world.claim(limit=2)] == [first, second]


def test_the_least_served_goes_first(world: World) -> None:
    world.submit("ada")
    [claim] = world.claim()
    world.clock.move(100)
    world.queue.succeed(claim)
    world.submit("ada")
    [of_grace] = world.submit("grace")
    assert [claim.job_id for claim in world.claim()] == [of_grace]


def test_a_claim_charges_a_quantum_and_its_end_settles(world: World) -> None:
    world.submit("ada")
    [claim] = world.claim()
    assert served(world, "ada") == world.settings.quantum_seconds
    world.clock.move(12)
    world.queue.succeed(claim)
    assert abs(served(world, "ada") - 12) < 0.1


def test_service_is_halved_every_half_life(world: World) -> None:
    now = world.clock.now
    world.clock.move(world.settings.half_life_seconds)
    assert decayed(100, now, world.clock.now, world.settings.half_life_seconds) == 50


def test_twice_the_share_is_served_twice(world: World) -> None:
    ada = world.user("ada")
    with world.engine.begin() as connection:
        connection.execute(update(User).where(User.id == ada).values(share=2.0))
    world.submit("ada", "generate", 20)
    world.submit("grace", "generate", 20)
    names = [claim.user_id for claim in world.claim("generate", limit=9)]
    assert (names.count(world.user("ada")), names.count(world.user("grace"))) == (6, 3)


def test_priority_orders_a_user_s_own_jobs_only(world: World) -> None:
    [normal] = world.submit("ada")
    [high] = world.submit("ada", priority=PRIORITIES["high"])
    [of_grace] = world.submit("grace", priority=PRIORITIES["low"])
    assert [claim.job_id for claim in world.claim(limit=3)] == [high, of_grace, normal]


def test_a_cap_of_one_s_own_and_kinds_apart(world: World) -> None:
    ada = world.user("ada")
    with world.engine.begin() as connection:
        connection.execute(update(User).where(User.id == ada).values(max_running=1))
    world.submit("ada", "train", 3)
    world.submit("ada", "generate", 3)
    assert len(world.claim("train", 5)) == 1
    assert len(world.claim("generate", 5)) == 3


def test_a_disabled_user_s_jobs_wait(world: World) -> None:
    world.submit("ada")
    with world.engine.begin() as connection:
        ada = update(User).where(User.id == world.users["ada"])
        connection.execute(ada.values(disabled_at=world.clock.now))
    assert world.claim() == []


def test_a_long_training_counts_beyond_its_charge(world: World) -> None:
    """Who holds a device for hours on one charge is not served less than who was settled."""
    world.submit("ada", count=2)
    world.claim()
    world.clock.move(3600)
    world.change("grace", served_seconds=1800.0, served_at=world.clock.now)
    [of_grace] = world.submit("grace")
    assert [claim.job_id for claim in world.claim()] == [of_grace]


def test_thirty_in_one_batch_pay_a_thirtieth_each(world: World) -> None:
    names = [f"user{number}" for number in range(30)]
    for name in names:
        world.submit(name, "generate")
    claims = world.claim("generate", limit=30)
    quantum = world.settings.quantum_seconds
    assert [round(served(world, name), 6) for name in names] == [quantum / 30] * 30
    world.clock.move(60)
    seconds = {claim.job_id: 60 / 30 for claim in claims}
    assert world.queue.finish([(claim, ()) for claim in claims], seconds=seconds) == []
    assert all(abs(served(world, name) - 2) < 0.1 for name in names)
    assert world.row("user7").used_seconds == pytest.approx(2)


def test_a_slot_is_charged_its_part_however_few_are_free(world: World) -> None:
    world.submit("ada", "generate")
    world.queue.claim("generate", "host/cpu/generate", 1, slots=64)
    assert served(world, "ada") == world.settings.quantum_seconds / 64


def test_nobody_is_charged_more_than_the_time_that_passed(world: World) -> None:
    world.submit("ada", "generate")
    [claim] = world.claim("generate")
    world.clock.move(3)
    world.queue.succeed(claim, seconds=1000)
    assert abs(served(world, "ada") - 3) < 0.1


def test_a_lifted_job_goes_first_and_its_owner_s_cap_holds(world: World) -> None:
    world.change("ada", max_running=1)
    [first] = world.submit("grace")
    jobs = world.submit("ada", count=3)
    assert world.promote(jobs[2]) == "queued"
    world.clock.move(1)
    assert world.promote(jobs[1]) == "queued"
    assert [claim.job_id for claim in world.claim(limit=5)] == [jobs[2], first]
    assert world.events(jobs[2])[:2] == ["submitted", "lifted"]
