"""Sessions of browsers: a cookie's token in place of a key, which the page never keeps.

A session belongs to a key and ends with it. The database holds the SHA-256 of each token, which is
256 random bits. The CSRF token is derived from the cookie's token, so that nothing more is stored.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.orm import Session

from shared.accounts import create_key
from shared.clock import database_now
from shared.tables import ApiKey, PageSession, SignInLink, User

Origin = Literal["key", "link"]

TOKEN_BYTES = 32
#: How long a sign-in link may lie unused.
LINK_SECONDS = 3600.0
#: Live sessions of one key; the oldest ends when one more begins.
MAX_SESSIONS_PER_KEY = 20
#: The key under which the sessions of sign-in links are listed and revoked. Nobody has its secret.
LINK_KEY_NAME = "sign-in links"

_FIND = (
    select(PageSession.id, PageSession.expires_at, ApiKey.prefix)
    .join(ApiKey, PageSession.key_id == ApiKey.id)
    .where(PageSession.sha256 == bindparam("sha256"))
)
_EXPIRY = select(PageSession.expires_at).where(PageSession.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class NewSession:
    """A new session. Only here is its token complete."""

    id: str
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that has not expired. Whether its key is still valid, shared/accounts.py tells."""

    id: str
    key_prefix: str


def begin(
    session: Session, key_prefix: str, origin: Origin, made_from: str | None, seconds: float
) -> NewSession:
    """Begin a session with a key; the caller commits.

    Args:
        session: The session of the database to store it with.
        key_prefix: The key that it belongs to, which the caller has checked.
        origin: How the browser signed in.
        made_from: The address that signed in.
        seconds: How long the session lasts at most; it ends with its key.
    """
    now = database_now(session.connection())
    key = session.scalars(select(ApiKey).where(ApiKey.prefix == key_prefix).with_for_update()).one()
    key_id, expires_at = key.id, now + timedelta(seconds=seconds)
    if key.expires_at is not None:
        expires_at = min(expires_at, key.expires_at)
    of_key = select(PageSession.id).where(PageSession.key_id == key_id)
    session.execute(
        delete(PageSession).where(PageSession.key_id == key_id, PageSession.expires_at <= now)
    )
    newest_first = of_key.order_by(PageSession.created_at.desc(), PageSession.id.desc())
    surplus = session.scalars(newest_first.offset(MAX_SESSIONS_PER_KEY - 1)).all()
    if surplus:
        session.execute(delete(PageSession).where(PageSession.id.in_(surplus)))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    row = PageSession(
        key_id=key_id,
        origin=origin,
        sha256=_sha256(token),
        made_from=made_from,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return NewSession(row.id, token, row.expires_at)


def find(connection: Connection, token: str) -> LiveSession | None:
    """Return the session of a cookie's token; None if it is unknown or has expired."""
    row = connection.execute(_FIND, {"sha256": _sha256(token)}).one_or_none()
    if row is None or row.expires_at <= database_now(connection):
        return None
    return LiveSession(row.id, row.prefix)


def is_live(connection: Connection, session_id: str) -> bool:
    """Return whether a session was neither ended nor has expired."""
    expires_at = connection.execute(_EXPIRY, {"id": session_id}).scalar_one_or_none()
    return expires_at is not None and expires_at > database_now(connection)


def csrf_token(token: str) -> str:
    """Return the CSRF token that belongs to a cookie's token."""
    return _sha256(f"csrf {token}")


def make_link(session: Session, user: User) -> str:
    """Make a link that signs a browser in as a user, once; the caller commits.

    Returns:
        The link's token, which is not stored.
    """
    key = select(ApiKey.id).where(
        ApiKey.user_id == user.id, ApiKey.name == LINK_KEY_NAME, ApiKey.revoked_at.is_(None)
    )
    key_id = session.scalars(key).first() or create_key(session, user, LINK_KEY_NAME).id
    now = database_now(session.connection())
    session.execute(delete(SignInLink).where(SignInLink.expires_at <= now))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = now + timedelta(seconds=LINK_SECONDS)
    session.add(SignInLink(sha256=_sha256(token), key_id=key_id, expires_at=expires_at))
    session.flush()
    return token


def key_of_link(connection: Connection, token: str) -> str | None:
    """Return the prefix of the key that a link's session will belong to.

    It is None if the link is unknown, was used, or is too old.
    """
    row = connection.execute(
        select(ApiKey.prefix, SignInLink.expires_at)
        .join(SignInLink, SignInLink.key_id == ApiKey.id)
        .where(SignInLink.sha256 == _sha256(token))
    ).one_or_none()
    return None if row is None or row.expires_at <= database_now(connection) else row.prefix


def redeem(session: Session, token: str) -> bool:
    """Use up a link; the caller commits. Of two that use it at once only one succeeds."""
    used = delete(SignInLink).where(SignInLink.sha256 == _sha256(token))
    return session.scalar(used.returning(SignInLink.key_id)) is not None


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
