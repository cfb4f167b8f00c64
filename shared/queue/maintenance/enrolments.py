"""Forget enrolments that ended long ago; row_retention.py forgets the events of the audit."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete

from shared.tables import Enrolment


def forget_old_enrolments(connection: Connection, now: datetime, kept_days: float) -> int:
    """Delete the enrolments that could be redeemed for the last time before `kept_days`.

    Returns:
        How many were deleted.
    """
    oldest = now - timedelta(days=kept_days)
    return connection.execute(delete(Enrolment).where(Enrolment.expires_at < oldest)).rowcount
