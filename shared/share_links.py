"""Links that show one job or one text to whoever has them, and nothing else.

The database holds the SHA-256 of each token, which is 256 random bits. A link ends when it is
revoked or expires, when what it shows is gone, and while its owner is disabled.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.orm import Session

from shared.clock import database_now
from shared.tables import ShareLink, User

TOKEN_BYTES = 32
PREFIX = "quire_share_"

_FIND = (
    select(
        ShareLink.id,
        ShareLink.user_id,
        User.name.label("owner"),
        ShareLink.job_id,
        ShareLink.text_id,
        ShareLink.expires_at,
    )
    .join(User, ShareLink.user_id == User.id)
    .where(ShareLink.sha256 == bindparam("sha256"), User.disabled_at.is_(None))
)


@dataclass(frozen=True, slots=True)
class LiveLink:
    """A link that shows its job or text now.

    Attributes:
        owner: The name of the user who shares it.
        job_id: The job that it shows; None if it shows a text.
        text_id: The text that it shows; None if it shows a job.
    """

    id: str
    user_id: str
    owner: str
    job_id: str | None
    text_id: str | None
    expires_at: datetime


def make_share(
    session: Session,
    user_id: str,
    expires_at: datetime,
    *,
    job_id: str | None = None,
    text_id: str | None = None,
) -> tuple[ShareLink, str]:
    """Make a link; the caller commits.

    Args:
        session: The session to store it with.
        user_id: Whose job or text it is.
        expires_at: When it ends by itself.
        job_id: The job that it shows; or give `text_id`.
        text_id: The text that it shows.

    Returns:
        Its row, and its token, which is not stored.
    """
    token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    row = ShareLink(
        user_id=user_id,
        sha256=_sha256(token),
        job_id=job_id,
        text_id=text_id,
        created_at=database_now(session.connection()),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return row, token


def find_share(connection: Connection, token: str) -> LiveLink | None:
    """Return the link of a token; None if it is unknown, was revoked or has expired."""
    row = connection.execute(_FIND, {"sha256": _sha256(token)}).one_or_none()
    if row is None or row.expires_at <= database_now(connection):
        return None
    return LiveLink(*row)


def forget_expired_shares(connection: Connection, now: datetime) -> int:
    """Delete the links that have expired.

    Returns:
        How many were deleted.
    """
    return connection.execute(delete(ShareLink).where(ShareLink.expires_at <= now)).rowcount


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
