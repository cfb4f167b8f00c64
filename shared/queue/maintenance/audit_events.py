"""Forget old events of the audit, and enrolments that ended as long ago."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete

from shared.tables import AuditEvent, Enrolment


def forget_old_events(connection: Connection, now: datetime, kept_days: float) -> int:
    """Delete the events that are older than `kept_days`.

    Returns:
        How many were deleted.
    """
    oldest = now - timedelta(days=kept_days)
    return connection.execute(delete(AuditEvent).where(AuditEvent.at < oldest)).rowcount


def forget_old_enrolments(connection: Connection, now: datetime, kept_days: float) -> int:
    """Delete the enrolments that could be redeemed for the last time before `kept_days`.

    Returns:
        How many were deleted.
    """
    oldest = now - timedelta(days=kept_days)
    return connection.execute(delete(Enrolment).where(Enrolment.expires_at < oldest)).rowcount
