"""The current time, by the clock of the database."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, text

#: Gives the time that leases are compared with. A test passes its own.
Clock = Callable[[Connection], datetime]


def database_now(connection: Connection) -> datetime:
    """Return the time by the database's own clock, in UTC.

    On PostgreSQL this is ``clock_timestamp()``, not ``now()``: ``now()`` is the start of
    the transaction, which is in the past after a wait for a lock. SQLite runs inside this
    process, so its clock is this machine's.
    """
    if connection.dialect.name == "postgresql":
        moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)
    return datetime.now(UTC)
