"""Migrations: up, down, and in agreement with the models."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect

from migrations.migrate import current, downgrade, newest, upgrade
from shared.database import make_engine
from shared.tables import Base


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names - {"alembic_version"}


def test_an_empty_database_goes_up_and_down_again(empty_database_url: str) -> None:
    url = empty_database_url
    assert current(url) is None
    upgrade(url)
    assert current(url) == newest()
    assert tables(url) == set(Base.metadata.tables)
    downgrade(url)
    assert current(url) is None
    assert tables(url) == set()
    upgrade(url)
    assert tables(url) == set(Base.metadata.tables)


def test_models_and_migrations_agree(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
        for table in Base.metadata.tables.values():
            checks = {
                check["name"] for check in inspect(connection).get_check_constraints(table.name)
            }
            expected = {
                constraint.name
                for constraint in table.constraints
                if isinstance(constraint, CheckConstraint)
            }
            assert checks == expected, table.name
    engine.dispose()


def test_a_forgotten_column_would_be_noticed(empty_database_url: str) -> None:
    """The comparison above fails for a missing column."""
    upgrade(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN max_running")
        context = MigrationContext.configure(connection)
        [difference] = compare_metadata(context, Base.metadata)
        assert difference[0] == "add_column"
    engine.dispose()


@pytest.mark.parametrize("times", [4])
def test_several_processes_may_migrate_at_once(empty_database_url: str, times: int) -> None:
    with ThreadPoolExecutor(times) as pool:
        list(pool.map(lambda _: upgrade(empty_database_url), range(times)))
    assert current(empty_database_url) == newest()
