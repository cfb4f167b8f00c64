"""Prepared statements do what SQLAlchemy does, on both databases."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    bindparam,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from shared.database import reading
from shared.prepared import LONG_LIST, Prepared
from shared.tables import Corpus, Job, JobEvent
from tests.queue.conftest import QueueHarness

JOBS = (
    select(*Job.__table__.columns, (Corpus.visibility == "server").label("is_shared"))
    .outerjoin(Corpus, Job.corpus_id == Corpus.id)
    .where(
        or_(Job.user_id == bindparam("user"), Job.name == "nobody's"),
        Job.created_at <= bindparam("until", type_=Job.created_at.type),
    )
    .order_by(Job.id)
)


def test_rows_are_those_of_sqlalchemy(harness: QueueHarness) -> None:
    harness.submit(count=2, start_before=harness.clock.now + timedelta(days=1))
    [claim] = harness.claim()
    harness.queue.fail(claim, {"type": "x", "title": "ü", "detail": "\u2028"})
    harness.submit("grace")
    prepared = Prepared(JOBS)
    for user, count in (("ada", 2), ("grace", 1)):
        values = {"user": harness.users[user], "until": harness.clock.now}
        with reading(harness.engine) as connection:
            expected = connection.execute(JOBS, values).all()
            found = prepared.all(connection, values)
        assert len(found) == count
        assert [row._asdict() for row in found] == [row._asdict() for row in expected]
        assert [type(value) for value in found[0]] == [type(value) for value in expected[0]]


def test_it_sees_its_own_transaction_and_no_row_is_none(harness: QueueHarness) -> None:
    prepared = Prepared(select(Job.name).where(Job.id == bindparam("id")))
    [job_id] = harness.submit()
    with harness.engine.begin() as connection:
        connection.execute(Job.__table__.update().values(name="changed"))
        assert prepared.first(connection, {"id": job_id}).name == "changed"
        connection.rollback()
    with reading(harness.engine) as connection:
        assert prepared.first(connection, {"id": job_id}).name == "ada's job"
        assert prepared.first(connection, {"id": "00000000-0000-4000-8000-000000000000"}) is None


def lose(connection: Connection) -> None:
    connection.exec_driver_sql("ROLLBACK")
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.close()


def test_a_failure_is_that_of_sqlalchemy(harness: QueueHarness) -> None:
    prepared = Prepared(select(Job.name).where(Job.id == bindparam("id")))
    [job_id] = harness.submit()
    with harness.engine.connect() as connection:
        prepared.first(connection, {"id": job_id})
        lose(connection)
        with pytest.raises(DBAPIError) as raised:
            prepared.first(connection, {"id": job_id})
    assert raised.value.statement is not None
    with harness.engine.connect() as connection:
        assert prepared.first(connection, {"id": job_id}).name == "ada's job"


def test_a_connection_that_only_reads_is_replaced_where_it_is_lost(harness: QueueHarness) -> None:
    prepared = Prepared(select(Job.name).where(Job.id == bindparam("id")))
    [job_id] = harness.submit()
    with reading(harness.engine) as connection:
        prepared.first(connection, {"id": job_id})
        first = connection.connection.driver_connection
        lose(connection)
        for _ in range(2):
            assert prepared.first(connection, {"id": job_id}).name == "ada's job"
        assert connection.connection.driver_connection is not first
    with reading(harness.engine) as connection:
        assert prepared.first(connection, {"id": job_id}).name == "ada's job"
        if connection.dialect.name == "postgresql":
            driver: Any = connection.connection.driver_connection
            assert driver.autocommit, "the one in its place came from the pool, and is back there"


def test_a_failure_in_a_transaction_keeps_its_cause(harness: QueueHarness) -> None:
    """Run once more, it would only say that the transaction has failed."""
    quotient = (literal(1) / bindparam("by", type_=Integer)).label("quotient")
    prepared = Prepared(select(quotient))
    with harness.engine.connect() as connection:
        assert float(prepared.first(connection, {"by": 2}).quotient) == 0.5
        if connection.dialect.name == "sqlite":
            assert prepared.first(connection, {"by": 0}).quotient is None
        else:
            with pytest.raises(DataError, match="division by zero"):
                prepared.first(connection, {"by": 0})


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, LONG_LIST, LONG_LIST + 1])
def test_a_list_of_any_length_finds_what_it_names(harness: QueueHarness, length: int) -> None:
    jobs = harness.submit(count=3)
    prepared = Prepared(
        select(Job.id).where(Job.id.in_(bindparam("ids", expanding=True))).order_by(Job.id)
    )
    unknown = [str(uuid.uuid4()) for _ in range(max(0, length - len(jobs)))]
    with reading(harness.engine) as connection:
        for asked in ((jobs + unknown)[:length], (unknown + jobs)[:length]):
            found = [row.id for row in prepared.all(connection, {"ids": asked})]
            assert found == sorted(set(jobs) & set(asked))


def test_pairs_are_found_as_pairs(harness: QueueHarness) -> None:
    jobs = sorted(harness.submit(count=3))
    prepared = Prepared(
        select(Job.id, Job.attempt)
        .where(tuple_(Job.id, Job.attempt).in_(bindparam("mine", expanding=True)))
        .order_by(Job.id)
    )
    with reading(harness.engine) as connection:
        mine = [(jobs[0], 0), (jobs[1], 7), (jobs[2], 0)]
        assert prepared.all(connection, {"mine": mine}) == [mine[0], mine[2]]


def test_what_it_writes_is_what_sqlalchemy_writes(harness: QueueHarness) -> None:
    """With values of all types, defaults of columns, one row and many."""
    [template] = harness.submit()
    names = ("id", "user_id", "kind", "name", "spec", "created_at", "start_before")
    table = Job.__table__
    with harness.engine.begin() as connection:
        one = connection.execute(select(table).where(table.c.id == template)).one()._asdict()
        ids = [str(uuid.uuid4()) for _ in range(4)]
        rows = [{name: one[name] for name in names} | {"id": each} for each in ids]
        rows[3]["spec"] = {"prompt": "\u2028ü", "list": [1, None]}
        connection.execute(insert(Job), rows[:1])
        prepared = Prepared(insert(Job))
        prepared.run(connection, rows[1])
        prepared.run(connection, *rows[2:])
        rename = Prepared(update(Job).where(Job.id == bindparam("job")).returning(Job.id, Job.name))
        assert rename.all(connection, {"job": ids[1], "name": "new"}) == [(ids[1], "new")]
        stored = {
            row.id: row._asdict()
            for row in connection.execute(select(table).where(table.c.id.in_(ids)))
        }
    expected = stored[ids[0]]
    assert stored[ids[1]] == expected | {"id": ids[1], "name": "new"}
    assert stored[ids[2]] == expected | {"id": ids[2]}
    assert stored[ids[3]] == expected | {"id": ids[3], "spec": rows[3]["spec"]}


def test_rows_of_other_names_than_the_first_are_refused(harness: QueueHarness) -> None:
    [job_id] = harness.submit()
    prepared = Prepared(insert(JobEvent))
    event = {"job_id": job_id, "attempt": 1, "type": "claimed", "at": harness.clock.now}
    with harness.engine.begin() as connection, pytest.raises(KeyError, match="data"):
        prepared.run(connection, event | {"data": {}}, event)


def test_a_violated_constraint_is_sqlalchemys_error(harness: QueueHarness) -> None:
    prepared = Prepared(insert(JobEvent))
    event = {
        "job_id": str(uuid.uuid4()),
        "attempt": 1,
        "type": "claimed",
        "data": {},
        "at": harness.clock.now,
    }
    with pytest.raises(IntegrityError, match="INSERT INTO job_events"), harness.engine.begin() as c:
        prepared.run(c, event, event)


def test_a_computed_default_is_refused(harness: QueueHarness) -> None:
    table = Table("t", MetaData(), Column("a", Integer), Column("b", Integer, default=lambda: 1))
    with (
        harness.engine.connect() as connection,
        pytest.raises(TypeError, match=r"t\.b has a"),
    ):
        Prepared(insert(table)).run(connection, {"a": 1})
