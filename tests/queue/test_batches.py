"""Poison in a batch: of those beside whom a worker died, none is blamed before it ran alone."""

import pytest

from shared.queue.maintenance import rescue
from tests.queue.conftest import WORKER, World

BEAT_SECONDS = 9  # less than a heartbeat


def claim(world: World, busy: bool = True) -> str:
    """One more generation for the worker."""
    [job_id] = world.submit(kind="generate")
    assert [one.job_id for one in world.queue.claim("generate", WORKER, busy=busy)] == [job_id]
    return job_id


def standing(world: World, *jobs: str) -> list[tuple[str, bool, int]]:
    """Status, whether it runs alone, and attempts that count, of each."""
    rows = [world.job(job_id) for job_id in jobs]
    return [(row.status, row.alone, row.fruitless_attempts) for row in rows]


def test_those_beside_whom_a_worker_died_run_alone_before_an_attempt_is_counted(
    world: World,
) -> None:
    # In one millisecond ids are in any order.
    first, second, third = sorted(world.submit(count=3, kind="generate"))
    assert len(world.claim("generate", limit=9)) == 3
    world.clock.move(world.settings.lease_seconds + 1)
    assert {rescue.outcome for rescue in world.queue.rescue()} == {"queued"}
    assert [world.job(each).fruitless_attempts for each in (first, second, third)] == [0, 0, 0]
    # A busy worker waits until it has nothing else; one that is idle takes one of them alone.
    assert world.queue.claim("generate", WORKER, 9, busy=True) == []
    [claim] = world.claim("generate", limit=9)
    assert (claim.job_id, claim.alone) == (first, True)
    # Now it is nobody else's doing.
    for _ in range(world.settings.max_attempts):
        world.clock.move(world.settings.lease_seconds + 1)
        [rescue] = world.queue.rescue()
        if rescue.outcome == "queued":
            [claim] = world.claim("generate", limit=9)
            assert claim.job_id == first
    assert world.job(first).status == "failed"
    for job_id in (second, third):
        [claim] = world.claim("generate", limit=9)
        assert claim.job_id == job_id
        world.queue.succeed(claim)
    # Who comes later and was never beside a dead worker shares a batch again.
    world.submit(count=2, kind="generate")
    assert len(world.claim("generate", limit=9)) == 2


def test_jobs_are_taken_up_to_the_first_that_runs_alone(world: World) -> None:
    world.submit(count=2, kind="generate")
    assert len(world.claim("generate", limit=9)) == 2
    world.clock.move(world.settings.lease_seconds + 1)
    world.queue.rescue()
    [better] = world.submit(kind="generate", priority=-1)
    [claim] = world.claim("generate", limit=9)
    assert (claim.job_id, claim.alone) == (better, False)


def test_one_that_ran_alone_is_blamed_for_its_worker_s_death(world: World) -> None:
    [job_id] = world.submit(kind="generate")
    world.claim("generate")
    world.clock.move(world.settings.lease_seconds + 1)
    world.queue.rescue()
    job = world.job(job_id)
    assert (job.fruitless_attempts, job.alone) == (1, False)


def test_mates_are_not_blamed_though_their_leases_end_at_different_times(world: World) -> None:
    """What was claimed after the last beat is found dead later than what was renewed by it."""
    early = claim(world, busy=False)
    world.clock.move(BEAT_SECONDS)
    late = claim(world)
    world.clock.move(world.settings.lease_seconds - BEAT_SECONDS + 1)
    assert [rescue.job_id for rescue in world.queue.rescue()] == [early]
    assert world.job(late).status == "running", "its lease is good for some seconds yet"
    world.clock.move(BEAT_SECONDS)
    assert [rescue.job_id for rescue in world.queue.rescue()] == [late]
    assert standing(world, early, late) == [("queued", True, 0)] * 2
    # From here on each is by itself, and its own deaths count.
    [alone] = world.claim("generate", limit=9)
    world.clock.move(world.settings.lease_seconds + 1)
    world.queue.rescue()
    assert standing(world, alone.job_id) == [("queued", True, 1)]


def test_mates_are_not_blamed_though_one_sweep_does_not_take_them_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "RESCUED_AT_ONCE", 2)
    jobs = world.submit(kind="generate", count=3)
    assert len(world.claim("generate", limit=3)) == 3
    world.clock.move(world.settings.lease_seconds + 1)
    assert len(world.queue.rescue()) == 2
    assert len(world.queue.rescue()) == 1
    assert standing(world, *jobs) == [("queued", True, 0)] * 3


def test_what_the_next_worker_of_that_name_runs_was_not_beside_it(world: World) -> None:
    dead = claim(world, busy=False)
    world.clock.move(world.settings.lease_seconds - 1)
    alive = claim(world, busy=False)
    world.clock.move(2)
    assert [rescue.job_id for rescue in world.queue.rescue()] == [dead]
    assert standing(world, dead, alive) == [("queued", False, 1), ("running", False, 1)]
