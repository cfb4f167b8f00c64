"""Users: who may sign in, and in which role."""

import re

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared import audit
from shared.clock import database_now
from shared.tables import ROLES, User

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


class BadName(ValueError):
    """The name of a user has an invalid form."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is not a valid user name: use 1 to 100 letters, digits, dots, dashes, "
            "underscores or @, starting with a letter or digit"
        )


class BadRole(ValueError):
    """The role does not exist."""

    def __init__(self, role: str) -> None:
        super().__init__(f"{role!r} is not a role: use {' or '.join(ROLES)}")


class NameTaken(ValueError):
    """Another user has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a user named {name!r} exists already")


class LastAdmin(ValueError):
    """No admin would be left to manage the server."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is the last admin: add another one first")


def create_user(
    session: Session, name: str, role: str = "member", origin: audit.Origin = audit.LOCAL
) -> User:
    """Add a user; the caller commits.

    Args:
        session: The session to store them with.
        name: Their name.
        role: Their role.
        origin: Who adds them, and from where.

    Raises:
        BadName: The name has an invalid form.
        BadRole: The role is neither ``admin`` nor ``member``.
        NameTaken: Another user has the name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise BadName(name)
    if role not in ROLES:
        raise BadRole(role)
    user = User(name=name, role=role, created_at=database_now(session.connection()))
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:
        raise NameTaken(name) from None
    audit.record(session, "user.created", origin, user=name, role=role)
    return user


def disable_user(
    session: Session,
    user: User,
    origin: audit.Origin = audit.LOCAL,
    *,
    by_teacher: bool = False,
) -> None:
    """Suspend a user's keys and hold back their queued jobs until `enable_user`.

    Their running jobs continue, and yield to others as usual. The caller commits.

    Args:
        session: The session that the user was loaded in.
        user: The user.
        origin: Who disables them, and from where.
        by_teacher: Whether a teacher does it, who can't undo what an admin has done.

    Raises:
        LastAdmin: No admin would be left.
    """
    # Locked, so that of two admins who disable each other only the first succeeds.
    admins = session.scalars(
        select(User.id)
        .where(User.role == "admin", User.disabled_at.is_(None))
        .order_by(User.id)
        .with_for_update()
    ).all()
    if list(admins) == [user.id]:
        raise LastAdmin(user.name)
    user.disabled_by_teacher = by_teacher and (user.disabled_at is None or user.disabled_by_teacher)
    if user.disabled_at is None:
        user.disabled_at = database_now(session.connection())
        audit.record(session, "user.disabled", origin, user=user.name)


def enable_user(session: Session, user: User, origin: audit.Origin = audit.LOCAL) -> None:
    """Reactivate a user's keys and jobs; the caller commits."""
    if user.disabled_at is not None:
        user.disabled_at = None
        user.disabled_by_teacher = False
        audit.record(session, "user.enabled", origin, user=user.name)
