"""Statements in the words of one dialect, as the driver runs them."""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

Processor = Callable[[Any], Any]
Values = Mapping[str, Any]


class Form:
    """A statement in the words of one dialect, for values of some names and lists of some lengths.

    Attributes:
        text: The statement.
    """

    def __init__(self, statement: Any, connection: Connection, values: Values) -> None:
        self._dialect = connection.dialect
        # An insert that selects takes its parameters by the names that the select gives them.
        names = None if getattr(statement, "select", None) is not None else list(values)
        compiled: Any = statement.compile(dialect=self._dialect, column_keys=names)
        expanded = compiled.construct_expanded_state(dict(values))
        self.text = expanded.statement
        # A driver takes values by position or by name.
        self._is_positional = compiled.positional
        self._lists = {
            name: names for name, names in expanded.parameter_expansion.items() if name in values
        }
        processors = {
            name: bind.type.dialect_impl(self._dialect).bind_processor(self._dialect)
            for bind, name in compiled.bind_names.items()
            if name not in expanded.parameter_expansion
        } | dict(expanded.processors)
        self._order = expanded.positiontup if self._is_positional else list(expanded.parameters)
        constants = {**expanded.parameters, **_column_defaults(compiled)}
        given = values.keys() | {name for names in self._lists.values() for name in names}
        #: What parameters take that are given no value.
        self._constants = {name: constants.get(name) for name in self._order if name not in given}
        #: The places of the parameters that a type converts.
        self._bind = [
            (place, process)
            for place, name in enumerate(self._order)
            if (process := processors.get(name)) is not None
        ]
        self._pick = _picker(self._order)
        columns = list(statement.exported_columns)
        self._types = [column.type for column in columns]
        row = namedtuple("Row", [str(column.key) for column in columns])  # type: ignore[misc]
        self._row: Any = row
        #: The places of the values that a type converts, known once a cursor tells their types.
        self._converted: list[tuple[int, Processor]] | None = None

    def send(self, connection: Connection, values: Values) -> Any:
        """Return a cursor whose rows are for `fetch`."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self.text, self._bound(values))
        except BaseException:
            cursor.close()
            raise
        return cursor

    def fetch(self, cursor: Any) -> list[Any]:
        """Return the rows of a cursor, and close it."""
        try:
            rows = cursor.fetchall()
            if self._converted is None:
                self._converted = self._processors(cursor.description)
        finally:
            cursor.close()
        make = self._row._make
        if not self._converted:
            return [make(row) for row in rows]
        found = []
        for row in rows:
            converted = list(row)
            for place, process in self._converted:
                value = converted[place]
                if value is not None:
                    converted[place] = process(value)
            found.append(make(converted))
        return found

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Run a statement that returns no rows, once for each of some values."""
        cursor = connection.connection.cursor()
        try:
            if len(rows) == 1:
                cursor.execute(self.text, self._bound(rows[0]))
            else:
                cursor.executemany(self.text, [self._bound(row) for row in rows])
        finally:
            cursor.close()

    def _bound(self, values: Values) -> Any:
        if self._lists:
            values = {**values, **dict(self._elements(values))}
        if self._constants:
            values = {**self._constants, **values}
        bound = self._pick(values)
        for place, process in self._bind:
            bound[place] = process(bound[place])
        return bound if self._is_positional else dict(zip(self._order, bound, strict=True))

    def _elements(self, values: Values) -> Iterator[tuple[str, Any]]:
        for name, names in self._lists.items():
            elements = values[name]
            if elements and isinstance(elements[0], tuple):
                elements = [each for element in elements for each in element]
            yield from zip(names, elements, strict=True)

    def _processors(self, description: Any) -> list[tuple[int, Processor]]:
        processors = [
            type_.dialect_impl(self._dialect).result_processor(self._dialect, column[1])
            for type_, column in zip(self._types, description, strict=True)
        ]
        return [(place, each) for place, each in enumerate(processors) if each is not None]


def _picker(names: Sequence[str]) -> Callable[[Values], list[Any]]:
    """Return what takes the values of some names, in their order."""
    if len(names) < 2:
        return lambda values: [values[name] for name in names]
    pick = itemgetter(*names)
    return lambda values: list(pick(values))


def _column_defaults(compiled: Any) -> dict[str, Any]:
    """Return what an insert takes for its columns that are given no values."""
    columns = [*compiled.insert_prefetch, *compiled.update_prefetch]
    for column in columns:
        if column.default is None or not column.default.is_scalar:
            raise TypeError(f"column {column} has a default that is computed")
    return {column.key: column.default.arg for column in columns}
