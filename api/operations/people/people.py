"""Whom a request is about, and what may be made for them."""

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api.errors import Forbidden, Invalid, NotFound
from api.permissions import (
    as_id,
    current_user,
    may_enrol,
    may_manage_user,
    needs_admin,
    require_admin,
    require_scope,
)
from shared.accounts import (
    NAME_PATTERN,
    ScopesBeyondRole,
    in_order,
    scopes_of_role,
)
from shared.clock import database_now
from shared.tables import Enrolment, User


def find_user(session: Session, reference: str) -> User:
    """Return a user by name or id: anybody for an admin, only themselves for others.

    Raises:
        Forbidden: A member asks for somebody else.
        MissingScope: An admin does, with a key that lacks the scope `admin`.
        NotFound: No user has this name or id.
    """
    # Checked before the lookup, so that a member can't probe for users.
    caller = current_user()
    if not caller.is_admin and reference not in (caller.id, caller.name):
        if caller.role == "admin":
            require_admin()
        raise Forbidden("only an admin may see and change another user's keys")
    if not NAME_PATTERN.fullmatch(reference):
        raise NotFound("user", reference)
    found = session.scalars(
        select(User).where(or_(User.name == reference, User.id == _id_or_none(reference)))
    ).all()
    if not found:
        raise NotFound("user", reference)
    return min(found, key=lambda user: user.id != reference)


def find_managed_user(session: Session, reference: str) -> User:
    """Return a user whom the current user manages: anybody, for an admin; pupils, for a teacher.

    Raises:
        Forbidden: The current user does not manage them, whether they exist or not.
        MissingScope: They would with a key that has the scope `admin`.
        NotFound: No user has this name or id.
    """
    return _find_if(session, reference, may_manage_user)


def find_user_to_enrol(session: Session, reference: str) -> User:
    """Return a user whose enrolments the current user may manage.

    Raises:
        Forbidden: The current user may not, or the user does not exist and they are no admin.
        MissingScope: They may, but with another key.
        NotFound: No user has this name or id.
    """
    return _find_if(session, reference, may_enrol)


def find_enrolment(session: Session, reference: str) -> Enrolment:
    """Return an enrolment that the current user may manage.

    Raises:
        Forbidden: They may not, or it does not exist and they are no admin.
        MissingScope: They may, but with another key.
        NotFound: None has this id.
    """
    caller = current_user()
    if caller.role == "admin":
        require_admin()
    row = session.get(Enrolment, as_id("enrolment", reference))
    if not caller.is_admin and (
        row is None or not may_enrol(session, session.get_one(User, row.user_id))
    ):
        raise needs_admin(caller)
    if row is None:
        raise NotFound("enrolment", reference)
    return row


def _find_if(session: Session, reference: str, is_allowed: Callable[[Session, User], bool]) -> User:
    caller = current_user()
    if caller.role == "admin":
        require_admin()
        return find_user(session, reference)
    named = or_(User.name == reference, User.id == _id_or_none(reference))
    users = session.scalars(select(User).where(named)).all()
    user = min(users, key=lambda user: user.id != reference, default=None)
    if user is None or not is_allowed(session, user):
        # As for a user who does not exist.
        raise needs_admin(caller)
    return user


def granted_scopes(owner: User, wanted: Collection[str] | None) -> list[str]:
    """Return the scopes of a key that the current user makes for a user.

    A key makes no key that may do more than itself.

    Args:
        owner: The owner of the new key.
        wanted: The scopes; by default those that the owner's role and this key both have.

    Raises:
        Invalid: The owner's role does not allow one of them.
        MissingScope: This key lacks one of them.
    """
    maker, allowed = current_user(), scopes_of_role(owner.role)
    if wanted is None:
        return in_order(allowed & maker.scopes)
    if beyond := set(wanted) - allowed:
        message = str(ScopesBeyondRole(beyond, owner.name, owner.role))
        raise Invalid("scopes", list(wanted), message)
    for scope in in_order(wanted):
        require_scope(scope, maker)
    return in_order(wanted)


def granted_expiry(session: Session, owner: User, wanted: datetime | None) -> datetime | None:
    """Return when a key expires that the current user makes for a user.

    A key that expires makes no key of its own user that outlives it.

    Args:
        session: The session that makes it.
        owner: The owner of the new key.
        wanted: When it is to expire; by default with this key, or never.

    Raises:
        Invalid: The time is past, or later than the expiry of this key.
    """
    maker = current_user()
    latest = maker.key_expires_at if owner.id == maker.id else None
    if wanted is None:
        return latest
    check_future(session, wanted)
    if latest is not None and wanted > latest:
        raise Invalid(
            "expires_at",
            wanted.isoformat(),
            f"must not be after {latest.isoformat()}, when the key expires that makes this one. "
            "Leave it out, or use a key that lasts longer",
        )
    return wanted


def check_future(session: Session, expires_at: datetime) -> None:
    """Refuse an expiry that is past by the database's clock.

    Raises:
        Invalid: It is.
    """
    now = database_now(session.connection())
    if expires_at <= now:
        raise Invalid(
            "expires_at",
            expires_at.isoformat(),
            f"must be in the future; the server's time is {now.isoformat()}",
        )


def _id_or_none(reference: str) -> str | None:
    try:
        return as_id("user", reference)
    except NotFound:
        return None
