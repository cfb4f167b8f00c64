"""Which checkpoints go once nothing needs them any more, and that every training gets its turn."""

import pytest
from sqlalchemy import select, update

from shared import blobs
from shared.queue.maintenance import retention
from shared.queue.types import CheckpointRecord, Claim
from shared.tables import Checkpoint, Job
from tests.queue.conftest import World


def training(world: World, keep: int) -> Claim:
    """A training that is being run."""
    [job_id] = world.submit(user=f"keeps-{keep}")
    with world.engine.begin() as connection:
        connection.execute(
            update(Job).where(Job.id == job_id).values(spec={"epochs": 1, "keep": keep})
        )
    [claim] = world.claim()
    assert claim.job_id == job_id
    return claim


def save(world: World, claim: Claim, step: int, val_loss: float | None) -> None:
    data = f"weights of {claim.job_id} at {step}".encode()
    sha256 = blobs.store(world.engine, data)
    record = CheckpointRecord(step, step, 1.0, val_loss, "d" * 64, sha256, len(data))
    world.queue.record_checkpoint(claim, record)


def steps(world: World, claim: Claim) -> list[int]:
    """The steps whose checkpoints are there."""
    query = select(Checkpoint.step).where(Checkpoint.job_id == claim.job_id)
    with world.engine.connect() as connection:
        return list(connection.scalars(query.order_by(Checkpoint.step)))


def leftovers(world: World, keep: int) -> Claim:
    """A training with two checkpoints that a generation held until the training was over."""
    claim = training(world, keep)
    save(world, claim, 1, 1.0)
    world.submit(kind="generate")
    [writing] = world.claim("generate")
    for step in (2, 3):
        save(world, claim, step, 1 / step)
    world.queue.succeed(claim)
    assert steps(world, claim) == [1, 2, 3]
    world.queue.succeed(writing)
    return claim


@pytest.mark.parametrize(("keep", "left"), [(1, [3]), (2, [2, 3]), (3, [1, 2, 3])])
def test_what_was_held_goes_after_the_end_however_few_are_kept(
    world: World, keep: int, left: list[int]
) -> None:
    claim = leftovers(world, keep)
    assert world.queue.retire_checkpoints() == 3 - len(left)
    assert steps(world, claim) == left


def test_one_that_keeps_many_does_not_stand_in_the_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRAININGS_AT_ONCE", 1)
    rich = training(world, keep=1000)
    for step in range(1, 7):
        save(world, rich, step, 9.0 - step)
    world.queue.succeed(rich)
    leftovers(world, keep=1)
    assert world.queue.retire_checkpoints() == 2
    assert steps(world, rich) == [1, 2, 3, 4, 5, 6]


def test_those_that_have_more_for_good_do_not_stand_in_the_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRAININGS_AT_ONCE", 1)
    first = training(world, keep=1)
    save(world, first, 1, 0.1)
    save(world, first, 2, 9.0)
    world.queue.succeed(first)
    leftovers(world, keep=1)
    assert sum(world.queue.retire_checkpoints() for _ in range(60)) == 2
    assert steps(world, first) == [1, 2], "the best, and the newest"


def test_the_first_stays_until_one_was_judged(world: World) -> None:
    claim = training(world, keep=1)
    for step in (0, 10, 20):
        save(world, claim, step, None)
    assert steps(world, claim) == [0, 20], "a loss that explodes goes back to it"
    save(world, claim, 30, 1.0)
    assert steps(world, claim) == [30]
