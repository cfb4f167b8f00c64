"""Forget idempotency keys: a POST can be repeated for a day."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from shared.tables import IdempotencyKey

KEPT_HOURS = 24
FORGOTTEN_AT_ONCE = 100


def is_expired(created_at: datetime, now: datetime) -> bool:
    """Whether a key made at this time counts no more."""
    return created_at < now - timedelta(hours=KEPT_HOURS)


def forget_expired_keys(connection: Connection, now: datetime) -> int:
    """Delete all expired keys.

    Returns:
        How many were deleted.
    """
    expired = IdempotencyKey.created_at < now - timedelta(hours=KEPT_HOURS)
    return connection.execute(delete(IdempotencyKey).where(expired)).rowcount


def forget_expired_keys_of(connection: Connection, user_id: str, now: datetime) -> None:
    """Delete some of a user's expired keys, without waiting for those that others have locked."""
    own = IdempotencyKey.user_id == user_id
    expired = (
        select(IdempotencyKey.key)
        .where(own, IdempotencyKey.created_at < now - timedelta(hours=KEPT_HOURS))
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    keys = list(connection.scalars(expired))
    if keys:
        connection.execute(delete(IdempotencyKey).where(own, IdempotencyKey.key.in_(keys)))
