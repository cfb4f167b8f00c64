"""A container's health check: ``python -m worker.health`` fails if a lane has no live worker."""

import sys

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from shared.clock import database_now
from shared.database import make_engine, make_sessions
from shared.settings import Settings, SettingsError, load_settings
from shared.tables import Device
from shared.worker_registry import is_alive

LANES = frozenset({"train", "generate"})


def silent_lanes(settings: Settings) -> frozenset[str]:
    """The lanes of this host in which no worker has sent a heartbeat within a lease.

    One that drains takes no jobs, and does not count. One live worker per lane is enough: a removed
    device leaves its row behind.
    """
    engine = make_engine(settings.database)
    try:
        with make_sessions(engine, read_only=True)() as session:
            now = database_now(session.connection())
            workers = session.scalars(select(Device).where(Device.host == settings.host_name))
            live = {
                row.lane
                for row in workers
                if row.drain_requested_at is None and is_alive(row, now, settings.lease_seconds)
            }
    finally:
        engine.dispose()
    return LANES - live


def main() -> int:
    """Check this host's workers.

    Returns:
        The process's exit code: 0, or 1 after a line that says what is wrong.
    """
    try:
        silent = silent_lanes(load_settings())
    except (SettingsError, SQLAlchemyError) as error:
        print(error, file=sys.stderr)
        return 1
    if silent:
        print(f"no live worker on this host for: {', '.join(sorted(silent))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
