"""Kept connections: each use finds a clean one that is alive, and few are held."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Connection, Engine, event, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from shared import kept_connections
from shared.database import make_engine, reading, writing
from shared.ids import new_id
from shared.kept_connections import KEPT
from shared.tables import Job, User
from tests.queue.conftest import QueueHarness
from tests.services.waiting import until


@pytest.fixture
def engine(harness: QueueHarness) -> Iterator[Engine]:
    harness.submit()
    yield harness.engine
    harness.engine.dispose()


def driver_of(connection: Connection) -> object:
    return connection.connection.driver_connection


def used(engine: Engine) -> object:
    with reading(engine) as connection:
        connection.scalars(select(Job.name)).all()
        return driver_of(connection)


def test_the_next_use_has_the_same_connection(engine: Engine) -> None:
    assert used(engine) is used(engine)


def test_one_that_was_idle_for_long_goes_through_the_pool(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[object] = []
    event.listen(engine, "checkin", lambda driver, record: returned.append(driver))
    kept = used(engine)
    assert used(engine) is kept
    assert kept not in returned
    monkeypatch.setattr(kept_connections, "FRESH_SECONDS", -1.0)
    used(engine)
    assert kept in returned


def test_no_more_than_a_few_are_kept(engine: Engine) -> None:
    before = engine.pool.checkedout()  # type: ignore[attr-defined]
    met, leave = threading.Barrier(KEPT + 3), threading.Event()

    def use() -> None:
        with reading(engine) as connection:
            connection.scalars(select(Job.name)).all()
            met.wait(20)
            leave.wait(20)

    threads = [threading.Thread(target=use) for _ in range(KEPT + 2)]
    for thread in threads:
        thread.start()
    met.wait(20)
    leave.set()
    for thread in threads:
        thread.join(20)
    assert engine.pool.checkedout() - before <= KEPT  # type: ignore[attr-defined]


def test_nobody_gets_a_transaction_of_the_use_before(engine: Engine) -> None:
    with reading(engine) as connection:
        names = connection.scalars(select(User.name)).all()
        assert connection.in_transaction()
    with writing(engine) as connection:
        connection.execute(User.__table__.update().values(name="eve"))
    with reading(engine) as connection:
        assert not connection.in_transaction()
        assert connection.scalars(select(User.name)).all() == ["eve"] != names


def test_an_error_rolls_back_and_lets_the_next_writer_in(engine: Engine) -> None:
    def fail(synced: bool) -> None:
        with writing(engine, synced=synced) as connection:
            connection.execute(User.__table__.update().values(name="eve"))
            raise ZeroDivisionError

    for synced in (True, False):
        with pytest.raises(ZeroDivisionError):
            fail(synced)
    with reading(engine) as connection:
        assert connection.scalars(select(User.name)).all() != ["eve"]
    with engine.begin() as connection:
        connection.execute(User.__table__.update().values(name="bob"))
    with writing(engine) as connection:
        assert connection.scalars(select(User.name)).all() == ["bob"]


def test_a_writer_that_is_lost_writes_nothing_and_is_not_kept(engine: Engine) -> None:
    lost = []

    def fail() -> None:
        with writing(engine) as connection:
            connection.execute(User.__table__.update().values(name="eve"))
            lost.append(driver_of(connection))
            connection.connection.driver_connection.close()  # type: ignore[union-attr]
            connection.execute(User.__table__.update().values(name="eve"))

    with pytest.raises(DBAPIError):
        fail()
    with writing(engine) as connection:
        assert driver_of(connection) not in lost
        assert connection.scalars(select(User.name)).all() != ["eve"]


def test_a_commit_that_fails_leaves_nobody_out(engine: Engine) -> None:
    """The driver is in a transaction then, which SQLAlchemy takes for ended."""
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL ends a transaction whose commit fails")

    def fail(synced: bool) -> None:
        with writing(engine, synced=synced) as connection:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            connection.execute(Job.__table__.update().values(user_id=new_id()))

    other = make_engine(engine.url.render_as_string(hide_password=False))
    for synced in (True, False):
        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            fail(synced)
        for each in (other, engine):
            with writing(each, synced=synced) as connection:
                connection.execute(User.__table__.update().values(name=f"user-{synced}"))
    with reading(engine) as connection:
        assert connection.scalars(select(User.name)).all() == ["user-False"]
    other.dispose()


def test_one_that_postgresql_has_ended_is_not_used_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite ends no connections")
    # However long this takes, the pool is not asked.
    monkeypatch.setattr(kept_connections, "FRESH_SECONDS", 1e9)
    with reading(engine) as connection:
        reader = connection.scalar(select(func.pg_backend_pid()))
    with writing(engine) as connection:
        writer = connection.scalar(select(func.pg_backend_pid()))
    admin = make_engine(engine.url.render_as_string(hide_password=False))
    alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(:pids)")
    with admin.connect() as connection:
        for pid in (reader, writer):
            connection.execute(select(func.pg_terminate_backend(pid)))
        connection.rollback()
        until(lambda: not connection.scalar(alive, {"pids": [reader, writer]}), "their end")
    admin.dispose()
    with reading(engine) as connection:
        assert connection.scalar(select(func.pg_backend_pid())) != reader
    with writing(engine) as connection:
        assert connection.scalar(select(func.pg_backend_pid())) != writer


def test_more_writers_than_are_kept_all_get_their_turns(engine: Engine) -> None:
    done: list[int] = []

    def write(number: int) -> None:
        for _ in range(5):
            with writing(engine) as connection:
                connection.execute(User.__table__.update().values(name=f"user-{number}"))
            done.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == sorted([*range(6)] * 5)


@pytest.mark.parametrize("when", ["idle", "in use", "in a use that fails"])
def test_an_engine_that_is_disposed_of_keeps_none(engine: Engine, when: str) -> None:
    kept = used(engine)
    if when == "idle":
        engine.dispose()
    else:
        with suppress(ZeroDivisionError), reading(engine) as connection:
            assert driver_of(connection) is kept
            engine.dispose()
            if when == "in a use that fails":
                raise ZeroDivisionError
    with pytest.raises(Exception, match=r"(?i)closed"):
        kept.cursor().execute("SELECT 1")  # type: ignore[attr-defined]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert used(engine) is not kept
