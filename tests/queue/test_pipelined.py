"""Transactions on PostgreSQL whose statements are not waited for: all or nothing."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from shared.clock import database_now
from shared.database import make_engine, writing
from shared.ids import new_id
from shared.pipelined import pipelined
from shared.prepared import Prepared
from shared.tables.base import Id, Json, UtcDateTime
from tests.services.postgres import PostgresServer
from tests.services.statements import noted_statements

THINGS = Table(
    "things",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("id", Id),
    Column("name", String(9)),
    Column("value", Double),
    Column("facts", Json),
    Column("is_new", Boolean),
    Column("at", UtcDateTime),
    Column("kind", Integer, default=3),
)
ADD = Prepared(insert(THINGS))
COUNT = Prepared(select(func.count().label("count")).where(THINGS.c.number >= bindparam("least")))


@pytest.fixture
def engine(postgres: PostgresServer) -> Iterator[Engine]:
    with postgres.database("pipelined") as url:
        engine = make_engine(url)
        THINGS.metadata.create_all(engine)
        yield engine
        engine.dispose()


def numbers(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(select(THINGS.c.number).order_by(THINGS.c.number)))


def add(connection: Connection, *given: int, **values: Any) -> None:
    ADD.run(connection, *[{"number": number, **values} for number in given])


def test_what_ends_well_is_committed(engine: Engine) -> None:
    with writing(engine) as connection:
        add(connection, 1)
    with writing(engine) as connection:
        add(connection, 2)
        # A result that is waited for, and SQLAlchemy's own statements, see what was sent before.
        assert COUNT.first(connection, {"least": 1}).count == 2
        assert len(connection.execute(select(THINGS)).all()) == 2
        connection.execute(insert(THINGS), [{"number": 3}, {"number": 4}])
    assert numbers(engine) == [1, 2, 3, 4]


@pytest.mark.parametrize("reads", [False, True])
def test_what_goes_wrong_is_raised_as_what_it_is_and_nothing_stays(
    engine: Engine, reads: bool
) -> None:
    with writing(engine) as connection:
        add(connection, 1)

    def violate() -> None:
        with writing(engine) as connection:
            add(connection, 2)
            add(connection, 1)
            add(connection, 3)
            if reads:
                database_now(connection)

    def give_up() -> None:
        with writing(engine) as connection:
            add(connection, 4)
            raise LookupError

    with pytest.raises(IntegrityError):
        violate()
    with pytest.raises(LookupError):
        give_up()
    with writing(engine) as connection:
        add(connection, 5)
    assert numbers(engine) == [1, 5]


@pytest.mark.parametrize("reads", [False, True])
def test_a_lost_connection_is_told_and_the_next_one_is_sound(
    engine: Engine, postgres: PostgresServer, reads: bool
) -> None:
    def lose() -> None:
        with writing(engine) as connection:
            add(connection, 1)
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as server:
                server.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            add(connection, 2)
            if reads:
                database_now(connection)

    with pytest.raises(DBAPIError) as lost:
        lose()
    assert lost.value.connection_invalidated
    with writing(engine) as connection:
        add(connection, 3)
    assert numbers(engine) == [3]


def test_a_connection_that_is_lost_before_it_begins_is_told_by_sqlalchemy(engine: Engine) -> None:
    def lose() -> None:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.connection.driver_connection.close()  # type: ignore[union-attr]
            with pipelined(connection):
                raise AssertionError

    with pytest.raises(DBAPIError) as lost:
        lose()
    assert lost.value.connection_invalidated
    with writing(engine) as connection:
        add(connection, 1)
    assert numbers(engine) == [1]


def test_a_commit_takes_no_round_trip_of_its_own(engine: Engine) -> None:
    with writing(engine) as connection:
        driver: Any = connection.connection.driver_connection
        add(connection, 1)
        pipeline = driver._pipeline
        # Nobody has waited for an answer so far.
        assert pipeline.result_queue
    assert driver._pipeline is None
    assert driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_what_was_sent_ahead_is_as_of_then_and_read_once(engine: Engine) -> None:
    with writing(engine) as connection:
        add(connection, 1)
        COUNT.ahead(connection, {"least": 1})
        add(connection, 2)
        assert COUNT.first(connection, {"least": 1}).count == 1
        assert COUNT.first(connection, {"least": 1}).count == 2
        # Of other values nothing was sent.
        COUNT.ahead(connection, {"least": 1})
        assert COUNT.first(connection, {"least": 2}).count == 1
    with engine.begin() as connection:
        # Elsewhere nothing is sent ahead.
        COUNT.ahead(connection, {"least": 1})
        connection.execute(insert(THINGS), {"number": 3})
        assert COUNT.first(connection, {"least": 1}).count == 3


def rows_of_many_kinds() -> list[dict[str, Any]]:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    return [
        {"id": new_id(), "name": "ü\"\\'\n", "value": 0.1, "facts": {"a": [1, None, "é"]}},
        {"id": None, "name": None, "value": 2, "facts": None},
        {"id": new_id(), "name": "", "value": 1e300, "facts": []},
        {"id": new_id(), "name": "{,}", "value": -0.0, "facts": "x", "is_new": True, "at": at},
    ]


def test_many_rows_are_one_execution_and_the_same_rows(engine: Engine) -> None:
    given = [{"is_new": None, "at": None, **row} for row in rows_of_many_kinds()]
    with writing(engine) as connection:
        with noted_statements(engine) as statements:
            ADD.run(connection, *[{"number": n, **row} for n, row in enumerate(given)])
        assert len(statements) == 1
        for n, row in enumerate(given):
            ADD.run(connection, {"number": n + 10, **row})
    with engine.connect() as connection:
        found = [tuple(row)[1:] for row in connection.execute(select(THINGS).order_by("number"))]
    assert found[:4] == found[4:]
    assert [row[:4] for row in found[:4]] == [
        (row["id"], row["name"], row["value"], row["facts"]) for row in given
    ]
    assert {row[-1] for row in found} == {3}
    assert math.copysign(1, found[3][2]) == -1


def test_what_json_cannot_have_is_written_row_by_row(engine: Engine) -> None:
    with writing(engine) as connection:
        values = (math.inf, -math.inf, math.nan)
        ADD.run(connection, *[{"number": n, "value": v} for n, v in enumerate(values)])
    with engine.connect() as connection:
        found = list(connection.scalars(select(THINGS.c.value).order_by(THINGS.c.number)))
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": "ten letters"}, DataError),
        ({"name": "\0"}, DBAPIError),
        ({"at": datetime(2026, 1, 1)}, ValueError),
        ({"kind": 2**40}, DataError),
    ],
)
def test_what_one_row_is_refused_for_many_are(
    engine: Engine, values: dict[str, Any], error: type[Exception]
) -> None:
    for given in ((1,), (1, 2)):
        with pytest.raises(error), writing(engine) as connection:
            add(connection, *given, **values)
    assert numbers(engine) == []


def test_what_happens_on_a_conflict_stays(engine: Engine) -> None:
    if_absent = Prepared(postgresql.insert(THINGS).on_conflict_do_nothing())
    with writing(engine) as connection:
        add(connection, 1, name="first")
        if_absent.run(connection, *[{"number": n, "name": "second"} for n in (1, 2, 2)])
    with engine.connect() as connection:
        found = connection.execute(select(THINGS.c.number, THINGS.c.name).order_by("number"))
        assert [tuple(row) for row in found] == [(1, "first"), (2, "second")]
