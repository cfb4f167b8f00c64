"""A worker whose lease was taken can write nothing, whatever it tries."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, Table, func, select

from shared import blobs
from shared.queue import Queue
from shared.queue.errors import LeaseLost
from shared.queue.types import CheckpointRecord, Claim, ProgressReport, TextRecord, problem
from shared.tables import Base
from tests.queue.conftest import World

TEXT = TextRecord(0, "a", "b", 0.5, None, None, 1, "length", None)
PROGRESS = ProgressReport(3, 9, 0.3, 1, 1.5, None, 0.01, 100.0, 5.0)


def checkpoint(engine: Engine) -> CheckpointRecord:
    sha256 = blobs.store(engine, b"weights")
    return CheckpointRecord(3, 0.3, 1.5, 1.6, "d" * 64, sha256, 7, {})


WRITES: dict[str, Callable[[Queue, Claim], object]] = {
    "heartbeat": lambda queue, claim: queue.heartbeat(claim),
    "progress": lambda queue, claim: queue.record_progress(claim, PROGRESS),
    "checkpoint": lambda queue, claim: queue.record_checkpoint(claim, checkpoint(queue.engine)),
    "vocabulary": lambda queue, claim: queue.record_vocabulary(claim, 40, 3.5),
    "texts": lambda queue, claim: queue.record_texts(claim, [TEXT]),
    "event": lambda queue, claim: queue.record_event(claim, "note"),
    "succeed": lambda queue, claim: queue.succeed(claim, [TEXT]),
    "fail": lambda queue, claim: queue.fail(claim, problem("x", "X", "x"), [TEXT]),
    "cancelled": lambda queue, claim: queue.cancel_claimed(claim, [TEXT]),
    "release": lambda queue, claim: queue.release(claim),
    "yield": lambda queue, claim: queue.release(claim, "yielded"),
}


def snapshot(engine: Engine) -> dict[str, list[object]]:
    """Every row of every table but the blobs, which hold no facts until they are named."""
    tables: list[Table] = [t for t in Base.metadata.sorted_tables if "blob" not in t.name]
    with engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in tables
        }


@pytest.mark.parametrize("write", WRITES)
def test_an_older_attempt_writes_nothing(
    world: World, expired: Callable[[], Claim], write: str
) -> None:
    old = expired()
    before = snapshot(world.engine)
    with pytest.raises(LeaseLost, match="attempt 1 of job"):
        WRITES[write](world.queue, old)
    assert snapshot(world.engine) == before


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_written_to_a_job_that_has_ended(world: World, write: str) -> None:
    world.submit()
    [claim] = world.claim()
    world.queue.succeed(claim)
    before = snapshot(world.engine)
    with pytest.raises(LeaseLost):
        WRITES[write](world.queue, claim)
    assert snapshot(world.engine) == before


def test_a_batch_finishes_the_jobs_it_still_holds_and_names_the_others(
    world: World, expired: Callable[[], Claim]
) -> None:
    lost = expired()
    world.submit("grace")
    [held] = world.claim()
    assert world.queue.finish([(lost, [TEXT]), (held, [TEXT])]) == [lost]
    assert world.job(held.job_id).status == "succeeded"
    assert world.job(lost.job_id).status == "running"
    with world.engine.connect() as connection:
        texts = Base.metadata.tables["texts"]
        assert connection.scalars(select(texts.c.job_id)).all() == [held.job_id]


def test_a_repeated_attempt_writes_each_text_once(world: World) -> None:
    world.submit()
    [first] = world.claim()
    world.queue.record_texts(first, [TEXT])
    world.clock.move(61)
    world.queue.rescue()
    [second] = world.claim()
    world.queue.succeed(second, [TEXT])
    with world.engine.connect() as connection:
        texts = Base.metadata.tables["texts"]
        assert connection.scalar(select(func.count()).select_from(texts)) == 1


def test_a_checkpoint_of_the_same_step_stays_the_first_one(world: World) -> None:
    world.submit()
    [claim] = world.claim()
    record = checkpoint(world.engine)
    first = world.queue.record_checkpoint(claim, record)
    assert world.queue.record_checkpoint(claim, record) == first
