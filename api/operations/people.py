"""Whom a request is about."""

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api.errors import Forbidden, NotFound
from api.permissions import as_id, current_user
from shared.accounts import NAME_PATTERN
from shared.tables import User


def find_user(session: Session, reference: str) -> User:
    """Return a user by name or id: anybody for an admin, only themselves for others.

    Raises:
        Forbidden: A member asks for somebody else.
        NotFound: No user has this name or id.
    """
    # Checked before the lookup, so that a member can't probe for users.
    caller = current_user()
    if not caller.is_admin and reference not in (caller.id, caller.name):
        raise Forbidden("only an admin may see and change another user's keys")
    if not NAME_PATTERN.fullmatch(reference):
        raise NotFound("user", reference)
    found = session.scalars(
        select(User).where(or_(User.name == reference, User.id == _id_or_none(reference)))
    ).all()
    if not found:
        raise NotFound("user", reference)
    return min(found, key=lambda user: user.id != reference)


def _id_or_none(reference: str) -> str | None:
    try:
        return as_id("user", reference)
    except NotFound:
        return None
