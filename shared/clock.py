"""What time it is, by the clock of the database, and identifiers that sort by time."""

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, text

#: Leases are judged by one clock only. A test gives its own.
Clock = Callable[[Connection], datetime]


def database_now(connection: Connection) -> datetime:
    """The time by the database's own clock, in UTC.

    PostgreSQL is asked for ``clock_timestamp()``, not ``now()``: after a wait
    for a lock the transaction's start is already past. SQLite runs inside this
    process, so its clock is this machine's.
    """
    if connection.dialect.name == "postgresql":
        moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)
    return datetime.now(UTC)


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
