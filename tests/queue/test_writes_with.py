"""What `best` is to a generation: looked up by its first claim, and the same for all later ones."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from shared import blobs
from shared.queue.maintenance.retention import DEFAULT_KEEP
from shared.queue.types import CheckpointRecord, Claim
from shared.tables import Checkpoint, Job
from tests.queue.conftest import World


@pytest.fixture
def training(world: World) -> Claim:
    world.submit()
    [claim] = world.claim()
    return claim


def save(world: World, training: Claim, step: int) -> str:
    """A checkpoint that is better than all before it; its id."""
    data = f"weights of step {step}".encode()
    sha256 = blobs.store(world.engine, data)
    record = CheckpointRecord(step, step, 1.0, 9.0 - step, "d" * 64, sha256, len(data))
    return world.queue.record_checkpoint(training, record)


def begin(world: World) -> Claim:
    [claim] = world.claim("generate")
    return claim


def drain(world: World, claim: Claim) -> None:
    world.queue.release(claim)


def pause(world: World, claim: Claim) -> None:
    world.pause(claim.job_id)
    world.queue.release(claim, "paused")


def die(world: World, claim: Claim) -> None:
    passed = world.clock.now - timedelta(seconds=1)
    with world.engine.begin() as connection:
        connection.execute(
            update(Job).where(Job.id == claim.job_id).values(lease_expires_at=passed)
        )
    assert [rescue.job_id for rescue in world.queue.rescue()] == [claim.job_id]


@pytest.mark.parametrize("stop", [drain, pause, die])
def test_every_attempt_writes_with_what_the_first_found(
    world: World, training: Claim, stop: Callable[[World, Claim], None]
) -> None:
    first = save(world, training, 1)
    [job_id] = world.submit(kind="generate")
    claim = begin(world)
    assert claim.checkpoint_id == first
    stop(world, claim)
    # Better ones, and more than are kept: only the unfinished generation holds the first.
    saved = [save(world, training, step) for step in range(2, 2 + DEFAULT_KEEP)]
    world.resume(job_id)
    again = begin(world)
    assert (again.attempt, again.checkpoint_id) == (2, first)
    world.queue.succeed(again)
    world.submit(kind="generate")
    assert begin(world).checkpoint_id == saved[-1], "another job looks it up anew"


def test_what_a_generation_began_with_goes_when_it_has_ended(world: World, training: Claim) -> None:
    save(world, training, 1)
    [job_id] = world.submit(kind="generate")
    world.queue.release(begin(world))
    for step in range(2, 2 + DEFAULT_KEEP):
        save(world, training, step)
    assert world.queue.retire_checkpoints() == 0
    world.cancel(job_id)
    assert world.queue.retire_checkpoints() == 1
    with world.engine.connect() as connection:
        assert connection.scalar(select(func.min(Checkpoint.step))) == 2


def test_many_that_are_claimed_together_each_have_their_own(world: World, training: Claim) -> None:
    first, best = save(world, training, 1), save(world, training, 2)
    named = world.submit(kind="generate", user="grace")
    with world.engine.begin() as connection:
        spec = {"checkpoint": first}
        connection.execute(update(Job).where(Job.id.in_(named)).values(spec=spec))
    asking = world.submit(kind="generate", count=2)
    claims = world.claim("generate", limit=3)
    found = {claim.job_id: claim.checkpoint_id for claim in claims}
    assert found == dict.fromkeys(named, first) | dict.fromkeys(asking, best)


def test_a_model_without_a_checkpoint_gives_none(world: World) -> None:
    world.submit(kind="generate")
    assert begin(world).checkpoint_id is None
