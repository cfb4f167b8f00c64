"""Groups: which are live, who is in them, and what ends with a membership."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.accounts import NAME_PATTERN
from shared.clock import CurrentMoment, database_now
from shared.tables import Corpus, Group, GroupRole, Membership, Model, User


class BadGroupName(ValueError):
    """The name of a group has an invalid form."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is not a valid name of a group: use 1 to 100 letters, digits, dots, dashes, "
            "underscores or @, starting with a letter or digit"
        )


class GroupNameTaken(ValueError):
    """Another group has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a group named {name!r} exists already")


class AlreadyMember(ValueError):
    """The user is in the group."""

    def __init__(self, user: str, group: str) -> None:
        super().__init__(f"{user!r} is in the group {group!r} already")


class TooManyMembers(ValueError):
    """The group has as many members as one may have."""

    def __init__(self, group: str, limit: int) -> None:
        super().__init__(
            f"the group {group!r} has {limit:,} members, the most that a group may have "
            "(QUIRE_MAX_MEMBERS_PER_GROUP): remove members, or make another group"
        )


class TooManyUsersMade(ValueError):
    """A teacher has made as many users as one may make."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"you have made {limit:,} users, the most that one teacher may make "
            "(QUIRE_MAX_USERS_PER_TEACHER): ask an admin to make more"
        )


def is_live() -> ColumnElement[bool]:
    """Return the condition that a group has not ended, by the database's clock."""
    return or_(Group.ends_at.is_(None), Group.ends_at > CurrentMoment())


def memberships_of(session: Session, user_id: str) -> dict[str, GroupRole]:
    """Return a user's roles in live groups, by the groups' ids."""
    statement = (
        select(Membership.group_id, Membership.role)
        .join(Group, Membership.group_id == Group.id)
        .where(Membership.user_id == user_id, is_live())
    )
    return dict(session.execute(statement).all())


def create_group(
    session: Session, name: str, ends_at: datetime | None, caps: dict[str, float | None]
) -> Group:
    """Add a group without members; the caller commits.

    Args:
        session: The session to store it with.
        name: Its name, of the same form as a user's.
        ends_at: When it ends; None for never.
        caps: Values of the columns `max_…` and `member_max_…`.

    Raises:
        BadGroupName: The name has an invalid form.
        GroupNameTaken: Another group has the name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise BadGroupName(name)
    now = database_now(session.connection())
    group = Group(name=name, ends_at=ends_at, created_at=now, **caps)
    try:
        with session.begin_nested():
            session.add(group)
    except IntegrityError:
        raise GroupNameTaken(name) from None
    return group


def add_member(session: Session, group: Group, user: User, role: GroupRole, limit: int) -> None:
    """Add a user to a group; the caller commits.

    Args:
        session: The session to store it with.
        group: The group, locked so that two additions can't both pass the limit.
        user: The user.
        role: ``member`` or ``teacher``.
        limit: How many members and teachers a group may have.

    Raises:
        AlreadyMember: The user is in the group.
        TooManyMembers: The group is full.
    """
    if session.get(Membership, (group.id, user.id)) is not None:
        raise AlreadyMember(user.name, group.name)
    members = select(func.count()).where(Membership.group_id == group.id)
    if (session.scalar(members) or 0) >= limit:
        raise TooManyMembers(group.name, limit)
    now = database_now(session.connection())
    session.add(Membership(group_id=group.id, user_id=user.id, role=role, created_at=now))
    session.flush()


def remove_member(session: Session, membership: Membership) -> None:
    """Remove a user from a group; what they shared with it is private again."""
    session.delete(membership)
    # Whoever shares something with the group holds a lock on the membership meanwhile.
    session.flush()
    _unshare(session, membership.group_id, {membership.user_id})


def delete_group(session: Session, group: Group) -> None:
    """Delete a group; what was shared with it is private again. Its members stay users."""
    session.execute(delete(Membership).where(Membership.group_id == group.id))
    _unshare(session, group.id)
    session.delete(group)
    session.flush()


def _unshare(session: Session, group_id: str, owners: Collection[str] | None = None) -> None:
    for table in (Corpus, Model):
        statement = update(table).where(table.group_id == group_id).values(group_id=None)
        if owners is not None:
            statement = statement.where(table.user_id.in_(owners))
        session.execute(statement)
