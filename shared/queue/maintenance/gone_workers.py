"""Remove workers that have not been heard of for a day from the list of workers."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete

from shared.tables import Device

KEPT_HOURS = 24


def remove_gone_workers(connection: Connection, now: datetime) -> int:
    """Delete the rows of workers whose last heartbeat is too old.

    Returns:
        How many were deleted.
    """
    gone = Device.heartbeat_at < now - timedelta(hours=KEPT_HOURS)
    return connection.execute(delete(Device).where(gone)).rowcount
