"""The announcement: what whoever runs the server tells all its users."""

from datetime import datetime

from flask import Response
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.openapi import Resource
from api.http.responses import json_response, no_content
from api.operations.audit import record
from api.permissions import current_user, require_admin
from api.schemas.operations import NewAnnouncement
from api.schemas.server import AnnouncementReply, CurrentAnnouncementReply
from api.services import reading, writing
from shared.clock import database_now
from shared.tables import Announcement

announcement = Resource("announcement", "What the server's admin tells all users")


@announcement.get("/announcement", CurrentAnnouncementReply)
def read_announcement() -> Response:
    """Read what is announced now."""
    with reading() as session:
        now = database_now(session.connection())
        found = session.scalars(
            select(Announcement)
            .where(or_(Announcement.ends_at.is_(None), Announcement.ends_at > now))
            .order_by(Announcement.id.desc())
            .limit(1)
        ).first()
        reply = None if found is None else _reply(found)
    return json_response(CurrentAnnouncementReply(announcement=reply))


@announcement.post("/announcement", 201, AnnouncementReply, scope="admin")
def make_announcement(body: NewAnnouncement) -> Response:
    """Announce something to all users, in place of what was announced before (admins only)."""
    require_admin()
    with writing() as session:
        now = database_now(session.connection())
        if body.ends_at is not None and body.ends_at <= now:
            raise Invalid(
                "ends_at",
                body.ends_at.isoformat(),
                f"must be in the future; the server's time is {now.isoformat()}",
            )
        _end_all(session, now)
        made = Announcement(
            text=body.text,
            level=body.level,
            made_by=current_user().name,
            created_at=now,
            ends_at=body.ends_at,
        )
        session.add(made)
        session.flush()
        record(session, "announcement.made")
        reply = _reply(made)
    return json_response(reply, 201)


@announcement.delete("/announcement", scope="admin")
def end_announcement() -> Response:
    """End what is announced (admins only). It is no error if there is nothing."""
    require_admin()
    with writing() as session:
        if _end_all(session, database_now(session.connection())):
            record(session, "announcement.ended")
    return no_content()


def _end_all(session: Session, now: datetime) -> int:
    still = or_(Announcement.ends_at.is_(None), Announcement.ends_at > now)
    ended = session.connection().execute(update(Announcement).where(still).values(ends_at=now))
    return int(ended.rowcount)


def _reply(row: Announcement) -> AnnouncementReply:
    return AnnouncementReply(
        text=row.text,
        level=row.level,
        made_by=row.made_by,
        created_at=row.created_at,
        ends_at=row.ends_at,
    )
