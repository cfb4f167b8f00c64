"""Whether this host's workers live: ``python -m worker.health``, for a container's health check."""

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
    """The kinds of jobs for which no worker of this host was heard of within a lease.

    A device that was taken away leaves its row behind, so that one worker of a kind is enough.
    """
    engine = make_engine(settings.database)
    try:
        with make_sessions(engine, read_only=True)() as session:
            now = database_now(session.connection())
            workers = session.scalars(select(Device).where(Device.host == settings.host_name))
            heard = {one.lane for one in workers if is_alive(one, now, settings.lease_seconds)}
    finally:
        engine.dispose()
    return LANES - heard


def main() -> int:
    """The exit code 0 where this host's workers live, else 1, and a line that says why."""
    try:
        silent = silent_lanes(load_settings())
    except (SettingsError, SQLAlchemyError) as error:
        print(error, file=sys.stderr)
        return 1
    if silent:
        print(f"no worker of this host for: {', '.join(sorted(silent))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
