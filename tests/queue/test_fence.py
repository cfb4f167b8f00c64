"""A worker that has lost its lease can write nothing."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from sqlalchemy import Engine, Table, func, select

from shared import blobs
from shared.database import make_sessions
from shared.queue import Queue
from shared.queue.errors import LeaseLost
from shared.queue.types import CheckpointRecord, Claim, ProgressReport, TextRecord, problem
from shared.tables import Base, GeneratedText
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
    assert harness.queue.finish([(lost, [TEXT]), (held, [TEXT])]).lost == [lost]
    assert harness.job(held.job_id).status == "succeeded"
    assert harness.job(lost.job_id).status == "running"
    with harness.engine.connect() as connection:
        texts = Base.metadata.tables["texts"]
        assert connection.scalars(select(texts.c.job_id)).all() == [held.job_id]


def test_two_attempts_of_one_job_in_one_finish_end_it_once(
    harness: QueueHarness, expired: Callable[[], Claim]
) -> None:
    """A batch runner may hold a job again whose lease it lost without noticing."""
    old = expired()
    new = replace(old, attempt=old.attempt + 1)
    done = harness.queue.finish([(old, [replace(TEXT, text="old")]), (new, [TEXT])])
    assert done.lost == [old]
    assert [(end.job_id, end.attempt) for end in done.ends] == [(new.job_id, new.attempt)]
    assert harness.events(new.job_id).count("succeeded") == 1
    with harness.engine.connect() as connection:
        texts = Base.metadata.tables["texts"]
        assert connection.scalars(select(texts.c.text)).all() == [TEXT.text]


def test_an_end_has_the_texts_as_they_are_stored(harness: QueueHarness) -> None:
    harness.submit(kind="generate", count=2)
    claims = harness.claim("generate", limit=2)
    texts = [TEXT, replace(TEXT, position=1, text="«c»", logprobs=[-0.5, -1.25])]
    done = harness.queue.finish([(claim, texts) for claim in claims])
    assert [end.job_id for end in done.ends] == [claim.job_id for claim in claims]
    with make_sessions(harness.engine)() as session:
        for end in done.ends:
            query = select(GeneratedText).where(GeneratedText.job_id == end.job_id)
            rows = session.scalars(query.order_by(GeneratedText.position)).all()
            assert end.texts is not None
            names = [field.name for field in fields(end.texts[0])]
            assert [[getattr(text, name) for name in names] for text in end.texts] == [
                [getattr(row, name) for name in names] for row in rows
            ]


def test_an_end_of_a_later_attempt_or_of_a_training_has_no_texts(harness: QueueHarness) -> None:
    """An earlier attempt may have stored a text, and a training stores its texts earlier."""
    harness.submit(kind="generate")
    [first] = harness.claim("generate")
    harness.queue.release(first)
    [second] = harness.claim("generate")
    harness.submit()
    [training] = harness.claim()
    for claim in (second, training):
        [end] = harness.queue.finish([(claim, [TEXT])]).ends
        assert (end.job_id, end.attempt, end.texts) == (claim.job_id, claim.attempt, None)


def test_ends_of_many_users_in_one_transaction_settle_each(harness: QueueHarness) -> None:
    names = ("ada", "bob", "eve")
    for name in names:
        harness.submit(name, kind="generate", count=3)
    claims = harness.claim("generate", limit=9)
    harness.clock.move(100)
    used = {claim.job_id: 4.0 for claim in claims}
    assert harness.queue.finish([(claim, ()) for claim in claims], seconds=used).lost == []
    for name in names:
        row = harness.row(name)
        assert row.used_seconds == pytest.approx(12.0)
        assert row.served_seconds == pytest.approx(12.0, abs=0.2)


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
