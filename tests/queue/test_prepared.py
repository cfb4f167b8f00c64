"""Prepared selects return what SQLAlchemy returns, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import Integer, bindparam, literal, or_, select
from sqlalchemy.exc import DataError, DBAPIError

from shared.database import reading
from shared.prepared import Prepared
from shared.tables import Corpus, Job
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


def test_a_failure_is_that_of_sqlalchemy(harness: QueueHarness) -> None:
    prepared = Prepared(select(Job.name).where(Job.id == bindparam("id")))
    [job_id] = harness.submit()
    with reading(harness.engine) as connection:
        prepared.first(connection, {"id": job_id})
        connection.exec_driver_sql("ROLLBACK")
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.close()
        with pytest.raises(DBAPIError) as raised:
            prepared.first(connection, {"id": job_id})
    assert raised.value.statement is not None
    with reading(harness.engine) as connection:
        assert prepared.first(connection, {"id": job_id}).name == "ada's job"


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
