"""Sign webhooks by the Standard Webhooks scheme (symmetric, version 1)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from shared.ids import new_id
from shared.tables import WebhookSecret

PREFIX = "whsec_"
SECRET_BYTES = 32
#: How long the secret before signs beside a new one, so that a receiver can be told of it.
OVERLAP = timedelta(hours=24)


def new_secret() -> str:
    """Return a new secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signatures(keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature`: one signature for each secret.

    Args:
        keys: The secrets.
        message_id: The header `webhook-id`.
        timestamp: The header `webhook-timestamp`, in seconds since 1970.
        body: The body.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_signature(key, signed)}" for key in keys)


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def secrets_of(connection: Connection, user_id: str, now: datetime) -> list[str]:
    """Return the secrets that sign now, newest first. A user's first one is made here."""
    rows = connection.execute(
        select(WebhookSecret.secret, WebhookSecret.expires_at)
        .where(WebhookSecret.user_id == user_id)
        .order_by(WebhookSecret.id.desc())
    ).all()
    if not rows:
        return [rotate(connection, user_id, now)]
    return [row.secret for row in rows if row.expires_at is None or row.expires_at > now]


def rotate(connection: Connection, user_id: str, now: datetime) -> str:
    """Make a new secret for a user; the one before signs beside it for a while.

    Returns:
        The new secret.
    """
    of_user = WebhookSecret.user_id == user_id
    connection.execute(delete(WebhookSecret).where(of_user, WebhookSecret.expires_at <= now))
    connection.execute(
        update(WebhookSecret)
        .where(of_user, WebhookSecret.expires_at.is_(None))
        .values(expires_at=now + OVERLAP)
    )
    secret = new_secret()
    values = {"id": new_id(), "user_id": user_id, "secret": secret, "created_at": now}
    connection.execute(insert(WebhookSecret).values(**values, expires_at=None))
    return secret
