"""The current time, by the clock of the database."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from shared.prepared import Prepared

#: Gives the time that leases are compared with. A test passes its own.
Clock = Callable[[Connection], datetime]

_NOW = Prepared(select(func.clock_timestamp().label("now")))


def database_now(connection: Connection) -> datetime:
    """Return the time by the database's own clock, in UTC.

    On PostgreSQL this is ``clock_timestamp()``, not ``now()``: ``now()`` is the start of
    the transaction, which is in the past after a wait for a lock. SQLite runs inside this
    process, so its clock is this machine's.
    """
    if connection.dialect.name == "postgresql":
        moment: datetime = _NOW.first(connection, {}).now
        return moment.astimezone(UTC)
    return datetime.now(UTC)


def read_now_ahead(connection: Connection) -> None:
    """Send what `database_now` will read."""
    _NOW.ahead(connection, {})


class CurrentMoment(FunctionElement[datetime]):
    """`database_now` within a statement, to be compared with a `UtcDateTime` column."""

    inherit_cache = True


@compiles(CurrentMoment)
def _on_postgresql(_element: CurrentMoment, _compiler: object, **_options: object) -> str:
    return "clock_timestamp()"


@compiles(CurrentMoment, "sqlite")
def _on_sqlite(_element: CurrentMoment, _compiler: object, **_options: object) -> str:
    # The form in which SQLAlchemy stores a time, but for the microseconds.
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"
