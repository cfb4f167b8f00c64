"""A worker that has lost its lease can write nothing."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, Table, func, select

from shared import blobs
from shared.queue import Queue
from shared.queue.errors import LeaseLost
from shared.queue.types import CheckpointRecord, Claim, ProgressReport, TextRecord, problem
from shared.tables import Base
from tests.queue.conftest import QueueHarness

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
    "cancel_claimed": lambda queue, claim: queue.cancel_claimed(claim, [TEXT]),
    "release": lambda queue, claim: queue.release(claim),
    "yield": lambda queue, claim: queue.release(claim, "yielded"),
}


def snapshot(engine: Engine) -> dict[str, list[object]]:
    """Read every row of every table except blobs, which count only once a row names them."""
    tables: list[Table] = [t for t in Base.metadata.sorted_tables if "blob" not in t.name]
    with engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in tables
        }


@pytest.mark.parametrize("write", WRITES)
def test_an_older_attempt_writes_nothing(
    harness: QueueHarness, expired: Callable[[], Claim], write: str
) -> None:
    old = expired()
    before = snapshot(harness.engine)
    with pytest.raises(LeaseLost, match="attempt 1 of job"):
        WRITES[write](harness.queue, old)
    assert snapshot(harness.engine) == before


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_written_to_a_job_that_has_ended(harness: QueueHarness, write: str) -> None:
    harness.submit()
    [claim] = harness.claim()
    harness.queue.succeed(claim)
    before = snapshot(harness.engine)
    with pytest.raises(LeaseLost):
        WRITES[write](harness.queue, claim)
    assert snapshot(harness.engine) == before


def test_finish_ends_the_jobs_still_held_and_returns_the_others(
    harness: QueueHarness, expired: Callable[[], Claim]
) -> None:
    lost = expired()
    harness.submit("grace")
    [held] = harness.claim()
    assert harness.queue.finish([(lost, [TEXT]), (held, [TEXT])]) == [lost]
    assert harness.job(held.job_id).status == "succeeded"
    assert harness.job(lost.job_id).status == "running"
    with harness.engine.connect() as connection:
        texts = Base.metadata.tables["texts"]
        assert connection.scalars(select(texts.c.job_id)).all() == [held.job_id]


def test_a_repeated_attempt_writes_each_text_once(harness: QueueHarness) -> None:
    harness.submit()
    [first] = harness.claim()
    harness.queue.record_texts(first, [TEXT])
    harness.clock.move(61)
    harness.queue.rescue()
    [second] = harness.claim()
    harness.queue.succeed(second, [TEXT])
    with harness.engine.connect() as connection:
        texts = Base.metadata.tables["texts"]
        assert connection.scalar(select(func.count()).select_from(texts)) == 1


def test_the_first_checkpoint_of_a_step_stays(harness: QueueHarness) -> None:
    harness.submit()
    [claim] = harness.claim()
    record = checkpoint(harness.engine)
    first = harness.queue.record_checkpoint(claim, record)
    assert harness.queue.record_checkpoint(claim, record) == first
