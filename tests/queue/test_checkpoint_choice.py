"""A generation's first claim looks up `best`; all its attempts use the same checkpoint."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from shared import blobs
from shared.queue.maintenance.retention import DEFAULT_KEEP
from shared.queue.types import CheckpointRecord, Claim
from shared.tables import Checkpoint, Job
from tests.queue.conftest import QueueHarness


@pytest.fixture
def training(harness: QueueHarness) -> Claim:
    harness.submit()
    [claim] = harness.claim()
    return claim


def save(harness: QueueHarness, training: Claim, step: int) -> str:
    """Save a checkpoint that is better than all before it, and return its id."""
    data = f"weights of step {step}".encode()
    sha256 = blobs.store(harness.engine, data)
    record = CheckpointRecord(step, step, 1.0, 9.0 - step, "d" * 64, sha256, len(data))
    return harness.queue.record_checkpoint(training, record)


def begin(harness: QueueHarness) -> Claim:
    [claim] = harness.claim("generate")
    return claim


def drain(harness: QueueHarness, claim: Claim) -> None:
    harness.queue.release(claim)


def pause(harness: QueueHarness, claim: Claim) -> None:
    harness.pause(claim.job_id)
    harness.queue.release(claim, "paused")


def die(harness: QueueHarness, claim: Claim) -> None:
    passed = harness.clock.now - timedelta(seconds=1)
    with harness.engine.begin() as connection:
        connection.execute(
            update(Job).where(Job.id == claim.job_id).values(lease_expires_at=passed)
        )
    assert [rescue.job_id for rescue in harness.queue.rescue()] == [claim.job_id]


@pytest.mark.parametrize("stop", [drain, pause, die])
def test_every_attempt_uses_the_checkpoint_of_the_first(
    harness: QueueHarness, training: Claim, stop: Callable[[QueueHarness, Claim], None]
) -> None:
    first = save(harness, training, 1)
    [job_id] = harness.submit(kind="generate")
    claim = begin(harness)
    assert claim.checkpoint_id == first
    stop(harness, claim)
    # Later ones are better, and more than are kept: only the generation protects the first.
    saved = [save(harness, training, step) for step in range(2, 2 + DEFAULT_KEEP)]
    harness.resume(job_id)
    again = begin(harness)
    assert (again.attempt, again.checkpoint_id) == (2, first)
    harness.queue.succeed(again)
    harness.submit(kind="generate")
    assert begin(harness).checkpoint_id == saved[-1], "another job looks it up again"


def test_a_generation_s_checkpoint_is_deleted_after_its_end(
    harness: QueueHarness, training: Claim
) -> None:
    save(harness, training, 1)
    [job_id] = harness.submit(kind="generate")
    harness.queue.release(begin(harness))
    for step in range(2, 2 + DEFAULT_KEEP):
        save(harness, training, step)
    assert harness.queue.retire_checkpoints() == 0
    harness.cancel(job_id)
    assert harness.queue.retire_checkpoints() == 1
    with harness.engine.connect() as connection:
        assert connection.scalar(select(func.min(Checkpoint.step))) == 2


def test_generations_claimed_together_each_get_their_own_checkpoint(
    harness: QueueHarness, training: Claim
) -> None:
    first, best = save(harness, training, 1), save(harness, training, 2)
    named = harness.submit(kind="generate", user="grace")
    with harness.engine.begin() as connection:
        spec = {"checkpoint": first}
        connection.execute(update(Job).where(Job.id.in_(named)).values(spec=spec))
    asking = harness.submit(kind="generate", count=2)
    claims = harness.claim("generate", limit=3)
    found = {claim.job_id: claim.checkpoint_id for claim in claims}
    assert found == dict.fromkeys(named, first) | dict.fromkeys(asking, best)


def test_a_model_without_checkpoints_gives_none(harness: QueueHarness) -> None:
    harness.submit(kind="generate")
    assert begin(harness).checkpoint_id is None
