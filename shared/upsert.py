"""INSERT … ON CONFLICT, for which SQLAlchemy has one construct per database.

Statements are built once per table and columns: building one takes SQLAlchemy longer than the
database takes to run it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from shared.prepared import Prepared
from shared.tables import Base


def insert_if_absent(connection: Connection, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row if none with its key exists.

    Returns:
        Whether the row was inserted.
    """
    statement = _insert_if_absent_statement(connection.dialect.name, table)
    return connection.execute(statement, values).first() is not None


def insert_all_if_absent(
    connection: Connection, table: type[Base], rows: Sequence[dict[str, Any]]
) -> None:
    """Insert those rows whose keys do not exist; all rows have values of the same columns."""
    if rows:
        _insert_all_if_absent_statement(connection.dialect.name, table).run(connection, *rows)


def insert_or_replace(connection: Connection, table: type[Base], values: dict[str, Any]) -> None:
    """Insert a row, or update the row with the same primary key."""
    statement = _insert_or_replace_statement(connection.dialect.name, table, frozenset(values))
    connection.execute(statement, values)


def insert_new(
    connection: Connection, table: type[Base], rows: Sequence[dict[str, Any]]
) -> set[tuple[Any, ...]]:
    """Insert those rows whose keys do not exist, and return the primary keys of these."""
    if not rows:
        return set()
    statement = _insert_if_absent_statement(connection.dialect.name, table)
    return {tuple(row) for row in connection.execute(statement, rows)}


@cache
def _insert_if_absent_statement(dialect: str, table: type[Base]) -> Any:
    # Not every driver gives the row count of an INSERT; all give the rows that it returns.
    key = table.__table__.primary_key
    return _insert(dialect, table).on_conflict_do_nothing().returning(*key)


@cache
def _insert_all_if_absent_statement(dialect: str, table: type[Base]) -> Prepared:
    return Prepared(_insert(dialect, table).on_conflict_do_nothing())


@cache
def _insert_or_replace_statement(dialect: str, table: type[Base], names: frozenset[str]) -> Any:
    statement = _insert(dialect, table)
    keys = [column.name for column in table.__table__.primary_key]
    others = {name: statement.excluded[name] for name in sorted(names.difference(keys))}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


def _insert(dialect: str, table: type[Base]) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert(table.__table__)
