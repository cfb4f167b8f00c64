"""Selects that are compiled once, for statements that run hundreds of times a second.

SQLAlchemy takes several times as long to run a small select as the database takes to answer it.
Here it compiles the statement once for each dialect; from then on the driver runs the text, and
SQLAlchemy's own types convert the values on both ways.
"""

import threading
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.exc import DBAPIError

Processor = Callable[[Any], Any]


class PreparedSelect:
    """A select without `IN` lists, whose parameters are all `bindparam`.

    Args:
        statement: The select.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement
        self._compiled: dict[str, _Compiled] = {}
        self._lock = threading.Lock()

    def all(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        """Return the rows, with the columns as attributes, in the connection's transaction."""
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            with self._lock:
                compiled = _Compiled(self.statement, connection)
                self._compiled[connection.dialect.name] = compiled
        try:
            return compiled.run(connection, values)
        except connection.dialect.loaded_dbapi.Error as error:
            dialect, driver = connection.dialect, connection.connection.dbapi_connection
            if dialect.is_disconnect(error, driver, None):
                # Again, by SQLAlchemy, which drops the lost connection.
                return list(connection.execute(self.statement, dict(values)))
            # Not again: PostgreSQL would only say that the transaction has failed.
            raise DBAPIError.instance(
                compiled.text, dict(values), error, dialect.loaded_dbapi.Error, dialect=dialect
            ) from error

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Return the first row; None if there is none."""
        rows = self.all(connection, values)
        return rows[0] if rows else None


class _Compiled:
    """A statement in the words of one dialect.

    Attributes:
        text: The statement.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]], connection: Connection) -> None:
        self._dialect = connection.dialect
        compiled: Any = statement.compile(dialect=self._dialect)
        self.text = str(compiled)
        # A driver takes values by position or by name.
        self._order: list[str] | None = compiled.positiontup if compiled.positional else None
        self._constants = {n: value for n, value in compiled.params.items() if value is not None}
        self._bind_processors = {
            name: bind.type.dialect_impl(self._dialect).bind_processor(self._dialect)
            for bind, name in compiled.bind_names.items()
        }
        columns = list(statement.selected_columns)
        self._types = [column.type for column in columns]
        row = namedtuple("Row", [str(column.key) for column in columns])  # type: ignore[misc]
        self._row: Any = row
        #: The places of the values that a type converts, known once a cursor tells their types.
        self._converted: list[tuple[int, Processor]] | None = None

    def run(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        given = {**self._constants, **values}
        bound = {
            name: given[name] if process is None else process(given[name])
            for name, process in self._bind_processors.items()
        }
        cursor = connection.connection.cursor()
        try:
            cursor.execute(
                self.text,
                bound if self._order is None else tuple(bound[name] for name in self._order),
            )
            rows = cursor.fetchall()
            if self._converted is None:
                self._converted = self._processors(cursor.description)
        finally:
            cursor.close()
        found = []
        for row in rows:
            converted = list(row)
            for place, process in self._converted:
                value = converted[place]
                if value is not None:
                    converted[place] = process(value)
            found.append(self._row._make(converted))
        return found

    def _processors(self, description: Any) -> list[tuple[int, Processor]]:
        processors = [
            type_.dialect_impl(self._dialect).result_processor(self._dialect, column[1])
            for type_, column in zip(self._types, description, strict=True)
        ]
        return [(place, each) for place, each in enumerate(processors) if each is not None]
