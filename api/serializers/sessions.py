"""Sessions of browsers as replies."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.schemas.server import SessionReply
from shared.clock import database_now
from shared.tables import ApiKey, PageSession


def session_reply(row: PageSession) -> SessionReply:
    """Describe a session."""
    return SessionReply(
        id=row.id,
        origin=row.origin,
        made_from=row.made_from,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def sessions_of_keys(session: Session, keys: Collection[str]) -> dict[str, list[SessionReply]]:
    """Return the live sessions of these keys, newest first, by key. A revoked key has none."""
    rows = session.scalars(
        select(PageSession)
        .join(ApiKey, PageSession.key_id == ApiKey.id)
        .where(
            PageSession.key_id.in_(keys),
            PageSession.expires_at > database_now(session.connection()),
            ApiKey.revoked_at.is_(None),
        )
        .order_by(PageSession.created_at.desc(), PageSession.id.desc())
    )
    found: defaultdict[str, list[SessionReply]] = defaultdict(list)
    for row in rows:
        found[row.key_id].append(session_reply(row))
    return found
