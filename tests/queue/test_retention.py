"""Checkpoints are deleted once nothing needs them, and every training gets its turn."""

import pytest
from sqlalchemy import select, update

from shared import blobs
from shared.queue.maintenance import retention
from shared.queue.types import CheckpointRecord, Claim
from shared.tables import Checkpoint, Job
from tests.queue.conftest import QueueHarness


def training(harness: QueueHarness, keep: int) -> Claim:
    """Submit and claim a training that keeps so many checkpoints."""
    [job_id] = harness.submit(user=f"keeps-{keep}")
    with harness.engine.begin() as connection:
        connection.execute(
            update(Job).where(Job.id == job_id).values(spec={"epochs": 1, "keep": keep})
        )
    [claim] = harness.claim()
    assert claim.job_id == job_id
    return claim


def save(harness: QueueHarness, claim: Claim, step: int, val_loss: float | None) -> None:
    data = f"weights of {claim.job_id} at {step}".encode()
    sha256 = blobs.store(harness.engine, data)
    record = CheckpointRecord(step, step, 1.0, val_loss, "d" * 64, sha256, len(data))
    harness.queue.record_checkpoint(claim, record)


def steps(harness: QueueHarness, claim: Claim) -> list[int]:
    """Read the steps of a training's checkpoints."""
    query = select(Checkpoint.step).where(Checkpoint.job_id == claim.job_id)
    with harness.engine.connect() as connection:
        return list(connection.scalars(query.order_by(Checkpoint.step)))


def leftovers(harness: QueueHarness, keep: int) -> Claim:
    """Make a training with two checkpoints that a generation protected until the training ended."""
    claim = training(harness, keep)
    save(harness, claim, 1, 1.0)
    harness.submit(kind="generate")
    [writing] = harness.claim("generate")
    for step in (2, 3):
        save(harness, claim, step, 1 / step)
    harness.queue.succeed(claim)
    assert steps(harness, claim) == [1, 2, 3]
    harness.queue.succeed(writing)
    return claim


@pytest.mark.parametrize(("keep", "left"), [(1, [3]), (2, [2, 3]), (3, [1, 2, 3])])
def test_protected_checkpoints_are_deleted_later_however_few_are_kept(
    harness: QueueHarness, keep: int, left: list[int]
) -> None:
    claim = leftovers(harness, keep)
    assert harness.queue.retire_checkpoints() == 3 - len(left)
    assert steps(harness, claim) == left


def test_a_training_that_keeps_many_does_not_hold_up_the_others(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRAININGS_AT_ONCE", 1)
    rich = training(harness, keep=1000)
    for step in range(1, 7):
        save(harness, rich, step, 9.0 - step)
    harness.queue.succeed(rich)
    leftovers(harness, keep=1)
    assert harness.queue.retire_checkpoints() == 2
    assert steps(harness, rich) == [1, 2, 3, 4, 5, 6]


def test_a_training_over_its_limit_for_good_does_not_hold_up_the_others(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TRAININGS_AT_ONCE", 1)
    first = training(harness, keep=1)
    save(harness, first, 1, 0.1)
    save(harness, first, 2, 9.0)
    harness.queue.succeed(first)
    leftovers(harness, keep=1)
    assert sum(harness.queue.retire_checkpoints() for _ in range(60)) == 2
    assert steps(harness, first) == [1, 2], "the best, and the newest"


def test_the_first_checkpoint_stays_until_the_first_validation(harness: QueueHarness) -> None:
    claim = training(harness, keep=1)
    for step in (0, 10, 20):
        save(harness, claim, step, None)
    assert steps(harness, claim) == [0, 20], "a training that diverges rolls back to it"
    save(harness, claim, 30, 1.0)
    assert steps(harness, claim) == [30]
