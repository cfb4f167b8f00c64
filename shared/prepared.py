"""Statements that are compiled once, for those that run hundreds of times a second.

SQLAlchemy takes several times as long to run a small statement as the database does. Here it
compiles the statement once for each dialect; from then on the driver runs the text, and
SQLAlchemy's own types convert the values on both ways.
"""

import threading
from typing import Any

from sqlalchemy import BindParameter, ClauseElement, Connection, Insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors

from shared.json_inserts import ROWS, insert_of_json, json_of
from shared.kept_connections import REPLACED
from shared.pipelined import sent_ahead
from shared.statement_forms import Form, Values

#: An execution option of connections that only read, each statement by itself: where such a
#: connection turns out to be lost, the statement runs again on a new one.
RUNS_AGAIN = "quire_runs_again"

#: Twice the length of a longer list could be more than a database takes.
LONG_LIST = 1024


class Prepared:
    """A select, or a statement that writes, whose parameters are given when it runs.

    Lists are taken by `bindparam(…, expanding=True)` of an `IN` alone: they are filled up with
    their last element to a power of two or a multiple of `LONG_LIST`, so that a few texts serve
    lists of all lengths.

    Args:
        statement: The statement. The defaults of its columns are constants.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self.statement: Any = statement
        self._is_insert = isinstance(statement, Insert)
        self._lists = frozenset(
            each.key
            for each in visitors.iterate(statement)
            if isinstance(each, BindParameter) and each.expanding
        )
        self._forms: dict[tuple[Any, ...], Form] = {}
        self._forms_of_json: dict[tuple[str, ...], Prepared] = {}
        self._lock = threading.Lock()

    def all(self, connection: Connection, values: Values) -> list[Any]:
        """Return the rows, with the columns as attributes, in the connection's transaction."""
        given = self._filled_up(values)
        form = self._form(connection, given)
        ahead = sent_ahead(connection)
        cursor = ahead.pop(self._key(values), None) if ahead else None
        try:
            return form.fetch(form.send(connection, given) if cursor is None else cursor)
        except connection.dialect.loaded_dbapi.Error as error:
            if not _is_lost(connection, error):
                raise _as_sqlalchemys(connection, form.text, dict(values), error) from error
            # Again, by SQLAlchemy, which drops the lost connection.
            return _read_again(connection, self.statement, dict(values))

    def ahead(self, connection: Connection, values: Values) -> None:
        """Send a select that a later call of `all` or `first` with these values will read.

        It saves that call a round trip in a pipeline, and does nothing elsewhere. The rows are
        those of now.
        """
        ahead = sent_ahead(connection)
        if ahead is None or (key := self._key(values)) in ahead:
            return
        given = self._filled_up(values)
        form = self._form(connection, given)
        try:
            ahead[key] = form.send(connection, given)
        except connection.dialect.loaded_dbapi.Error as error:
            # A lost connection: the call that reads says so.
            if not _is_lost(connection, error):
                raise _as_sqlalchemys(connection, form.text, dict(values), error) from error

    def _key(self, values: Values) -> tuple[Any, ...]:
        """What tells a select and its values from others."""
        given = [tuple(each) if isinstance(each, list) else each for each in values.values()]
        return (self, *values, *given)

    def first(self, connection: Connection, values: Values) -> Any:
        """Return the first row; None if there is none."""
        rows = self.all(connection, values)
        return rows[0] if rows else None

    def run(self, connection: Connection, *rows: Values) -> None:
        """Run a statement that returns no rows, once for each of some values of the same names."""
        if not rows:
            return
        if len(rows) > 1 and self._is_insert and connection.dialect.name == "postgresql":
            text = json_of(rows)
            if text is not None:
                self._of_json(rows[0]).run(connection, {ROWS: text})
                return
        given = [self._filled_up(values) for values in rows] if self._lists else rows
        form = self._form(connection, given[0])
        try:
            form.run(connection, given)
        except connection.dialect.loaded_dbapi.Error as error:
            if not _is_lost(connection, error):
                raise _as_sqlalchemys(connection, form.text, dict(rows[0]), error) from error
            connection.execute(self.statement, [dict(row) for row in rows])

    def _of_json(self, values: Values) -> "Prepared":
        """The insert of many rows with values of these names."""
        names = tuple(values)
        found = self._forms_of_json.get(names)
        if found is None:
            found = Prepared(insert_of_json(self.statement, names))
            self._forms_of_json[names] = found
        return found

    def _filled_up(self, values: Values) -> Values:
        if not self._lists:
            return values
        filled = dict(values)
        for name in self._lists:
            elements = filled[name]
            more = _filled_length(len(elements)) - len(elements)
            filled[name] = [*elements, *elements[-1:] * more]
        return filled

    def _form(self, connection: Connection, values: Values) -> Form:
        key: tuple[Any, ...] = (connection.dialect.name, *values)
        if self._lists:
            key += tuple([len(values[name]) for name in self._lists])
        form = self._forms.get(key)
        if form is None:
            with self._lock:
                form = self._forms[key] = Form(self.statement, connection, values)
        return form


def _filled_length(length: int) -> int:
    """Return the length to which a list is filled up."""
    if length > LONG_LIST:
        return -(-length // LONG_LIST) * LONG_LIST
    return 1 << (length - 1).bit_length() if length else 0


def run_text(connection: Connection, text: str) -> None:
    """Run a statement of the driver's own, without parameters and rows."""
    try:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text)
        finally:
            cursor.close()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemys(connection, text, {}, error) from error


def _read_again(connection: Connection, statement: Any, values: dict[str, Any]) -> list[Any]:
    try:
        return list(connection.execute(statement, values))
    except DBAPIError as error:
        may_run = connection.get_execution_options().get(RUNS_AGAIN, False)
        if not (may_run and error.connection_invalidated):
            raise
    connection.rollback()
    # A new one of the pool's own kind: it is not kept.
    connection.info[REPLACED] = True
    return list(connection.execute(statement, values))


def _is_lost(connection: Connection, error: Exception) -> bool:
    driver = connection.connection.dbapi_connection
    return bool(connection.dialect.is_disconnect(error, driver, None))  # type: ignore[arg-type]


def _as_sqlalchemys(
    connection: Connection, text: str, values: dict[str, Any], error: Exception
) -> Exception:
    # It is not run again: PostgreSQL would only say that the transaction has failed.
    dialect = connection.dialect
    wrapped: Exception = DBAPIError.instance(
        text, values, error, dialect.loaded_dbapi.Error, dialect=dialect
    )
    return wrapped
