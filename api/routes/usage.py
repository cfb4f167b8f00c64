"""Usage: a user's device time, storage, and caps."""

from datetime import datetime, timedelta

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import Forbidden, NotFound
from api.http.openapi import Resource
from api.http.responses import json_response
from api.operations.audit import record
from api.permissions import as_id, current_user, may_manage_user, require_admin
from api.schemas.params import UserPath
from api.schemas.queue import CapReply, UsageReply
from api.schemas.users import CapsUpdate
from api.services import reading, services, writing
from shared.clock import database_now
from shared.scheduling.accounting import decayed, midnight
from shared.scheduling.caps import caps_of, use_of
from shared.scheduling.groups import groups_of
from shared.tables import User

usage = Resource("usage", "Usage and caps")


@usage.get("/usage", UsageReply)
def read_usage() -> Response:
    """Read your share, usage and caps."""
    with reading() as session:
        return json_response(_reply(session, session.get_one(User, current_user().id)))


@usage.get("/usage/<user>", UsageReply)
def read_usage_of(path: UserPath) -> Response:
    """Read the share, usage and caps of a user (others: for admins, and for their teacher)."""
    caller = current_user()
    with reading() as session:
        if caller.is_admin or path.user in (caller.id, caller.name):
            return json_response(_reply(session, _find_user(session, path.user)))
        if caller.role == "admin":
            require_admin()  # says which scope the key lacks
        try:
            user = _find_user(session, path.user)
        except NotFound:
            user = None
        # The answer is the same for a user who does not exist.
        if user is None or not may_manage_user(session, user):
            raise Forbidden("only an admin, or the user's teacher, may see another user's usage")
        return json_response(_reply(session, user))


@usage.patch("/usage/<user>", UsageReply, scope="admin")
def change_caps(path: UserPath, body: CapsUpdate) -> Response:
    """Set the share and caps of a user (admins only).

    A cap below the current usage takes nothing away, but the user gets no more until they use less.
    """
    require_admin()
    with writing() as session:
        user = _find_user(session, path.user)
        for field in body.model_fields_set:
            setattr(user, field, getattr(body, field))
        record(session, "caps.changed", user=user.name, **body.model_dump(exclude_unset=True))
        session.flush()
        return json_response(_reply(session, user))


def _find_user(session: Session, reference: str) -> User:
    user = session.scalar(select(User).where(User.name == reference))
    if user is None:
        user = session.get(User, as_id("user", reference))
    if user is None:
        raise NotFound("user", reference)
    return user


def _reply(session: Session, user: User) -> UsageReply:
    connection = session.connection()
    now = database_now(connection)
    groups = groups_of(connection, [user.id], now).get(user.id, ())
    caps = caps_of(user, services().settings, groups)
    use = use_of(connection, user, now)
    served = _served(user, now)
    total = sum(_served(row, now) for row in session.scalars(select(User)))
    return UsageReply(
        user=user.name,
        share=user.share,
        served_seconds=round(served, 3),
        share_served=round(served / total, 6) if total > 0 else 0.0,
        running=_cap(use.running, caps.running, user.max_running),
        queued=_cap(use.queued, caps.queued, user.max_queued),
        device_seconds_today=_cap(
            round(use.device_seconds_today, 3),
            caps.device_seconds_per_day,
            user.max_device_seconds_per_day,
        ),
        stored_bytes=_cap(use.stored_bytes, caps.stored_bytes, user.max_stored_bytes),
        corpora_bytes=_cap(use.corpora_bytes, caps.corpora_bytes, user.max_corpora_bytes),
        corpora=_cap(use.corpora, caps.corpora, None),
        models=_cap(use.models, caps.models, None),
        keys=_cap(use.keys, caps.keys, None),
        day_ends_at=midnight(now) + timedelta(days=1),
    )


def _served(user: User, now: datetime) -> float:
    return decayed(user.served_seconds, user.served_at, now, services().settings.half_life_seconds)


def _cap(used: float, cap: float | None, own: float | None) -> CapReply:
    return CapReply(used=used, cap=cap, own=own is not None)
