"""Usage: what a user was served, has, and may have at most."""

from datetime import datetime, timedelta

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Forbidden, NotFound
from api.http.openapi import Resource
from api.http.responses import answer
from api.permissions import as_id, require_admin, current_user
from api.schemas.params import UserPath
from api.schemas.queue import CapReply, UsageReply
from api.schemas.users import CapsUpdate
from api.services import reading, services, writing
from shared.clock import database_now
from shared.scheduling.accounting import decayed, midnight
from shared.scheduling.caps import caps_of, use_of
from shared.tables import User

usage = Resource("usage", "What was used, and what may be")


@usage.get("/usage", UsageReply)
def read_usage() -> Response:
    """Your share, your use and your caps."""
    with reading() as session:
        return answer(_reply(session, session.get_one(User, current_user().id)))


@usage.get("/usage/<user>", UsageReply)
def read_usage_of(path: UserPath) -> Response:
    """The same of somebody else (admins only)."""
    me = current_user()
    if not me.is_admin and path.user not in (me.id, me.name):
        raise Forbidden("only an admin may see the usage of others")
    with reading() as session:
        return answer(_reply(session, _named(session, path.user)))


@usage.patch("/usage/<user>", UsageReply)
def change_caps(path: UserPath, body: CapsUpdate) -> Response:
    """Set the share and the caps of a user (admins only).

    A cap lower than what they have takes nothing away: they get no more until they have less.
    """
    require_admin()
    with writing() as session:
        user = _named(session, path.user)
        for field in body.model_fields_set:
            setattr(user, field, getattr(body, field))
        session.flush()
        return answer(_reply(session, user))


def _named(session: Session, reference: str) -> User:
    user = session.scalar(select(User).where(User.name == reference))
    if user is None:
        user = session.get(User, as_id("user", reference))
    if user is None:
        raise NotFound("user", reference)
    return user


def _reply(session: Session, user: User) -> UsageReply:
    connection = session.connection()
    now = database_now(connection)
    caps = caps_of(user, services().settings)
    use = use_of(connection, user, now)
    served = _served(user, now)
    everybody = sum(_served(each, now) for each in session.scalars(select(User)))
    return UsageReply(
        user=user.name,
        share=user.share,
        served_seconds=round(served, 3),
        share_served=round(served / everybody, 6) if everybody > 0 else 0.0,
        running=_cap(use.running, caps.running, user.max_running),
        queued=_cap(use.queued, caps.queued, user.max_queued),
        device_seconds_today=_cap(
            round(use.device_seconds_today, 3),
            caps.device_seconds_per_day,
            user.max_device_seconds_per_day,
        ),
        stored_bytes=_cap(use.stored_bytes, caps.stored_bytes, user.max_stored_bytes),
        corpora_bytes=_cap(use.corpora_bytes, caps.corpora_bytes, user.max_corpora_bytes),
        day_ends_at=midnight(now) + timedelta(days=1),
    )


def _served(user: User, now: datetime) -> float:
    return decayed(user.served_seconds, user.served_at, now, services().settings.half_life_seconds)


def _cap(used: float, cap: float | None, own: float | None) -> CapReply:
    return CapReply(used=used, cap=cap, own=own is not None)
