"""INSERT … ON CONFLICT, which both databases have and SQLAlchemy spells twice.

The statements are built once for each table and its columns: writing one down takes
SQLAlchemy longer than the database takes to run it.
"""

from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from shared.tables import Base


def insert_unless_there(connection: Connection, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless one with its key exists.

    Returns:
        Whether the row was inserted.
    """
    statement = _insert_unless_there(connection.dialect.name, table)
    return connection.execute(statement, values).first() is not None


def insert_or_replace(connection: Connection, table: type[Base], values: dict[str, Any]) -> None:
    """Insert a row, or give the one with its primary key these values."""
    statement = _insert_or_replace(connection.dialect.name, table, frozenset(values))
    connection.execute(statement, values)


@cache
def _insert_unless_there(dialect: str, table: type[Base]) -> Any:
    # The row count of an INSERT is not to be had from every driver; what it returns is.
    key = table.__table__.primary_key
    return _insert(dialect, table).on_conflict_do_nothing().returning(*key)


@cache
def _insert_or_replace(dialect: str, table: type[Base], names: frozenset[str]) -> Any:
    statement = _insert(dialect, table)
    keys = [column.name for column in table.__table__.primary_key]
    others = {name: statement.excluded[name] for name in sorted(names.difference(keys))}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


def _insert(dialect: str, table: type[Base]) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert(table.__table__)
