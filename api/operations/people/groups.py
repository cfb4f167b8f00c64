"""Look up groups, and check what an admin, a teacher or a member may do in them."""

from collections.abc import Collection

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from api.errors import Conflict, Forbidden, Invalid, NotFound
from api.operations.audit import origin
from api.permissions import as_id, current_user, may_manage_user
from api.schemas.groups import MEMBER, GroupFields, NewMember
from api.services import services
from shared import accounts, groups
from shared.settings import Settings
from shared.tables import Group, GroupRole, Membership, User

#: The settings' defaults, which bound what a teacher may give each member where the admin has set
#: no cap of the whole group.
_DEFAULTS = {
    "max_running": "max_running_per_user",
    "max_queued": "max_queued_per_user",
    "max_device_seconds_per_day": "max_device_seconds_per_day",
    "max_stored_bytes": "max_stored_bytes_per_user",
    "max_corpora_bytes": "max_corpora_bytes_per_user",
}


def known_groups() -> Select[Group, GroupRole | None]:
    """Select the groups that the current user may know of, with the user's role in each.

    Admins know all groups, others those that they are in, ended ones included.
    """
    user = current_user()
    mine = (Membership.group_id == Group.id) & (Membership.user_id == user.id)
    statement = select(Group, Membership.role).outerjoin(Membership, mine)
    return statement if user.is_admin else statement.where(Membership.user_id.is_not(None))


def find_group(
    session: Session, reference: str, *, lock: bool = False
) -> tuple[Group, GroupRole | None]:
    """Load a group that the current user may know of, with the user's role in it.

    Args:
        session: The session to load it in.
        reference: The name or id from the request.
        lock: Hold back other changes of the group and its members until the commit.

    Raises:
        NotFound: It does not exist, or the user may not know of it.
    """
    named = or_(Group.name == reference, Group.id == _id_or_none(reference))
    statement = known_groups().where(named)
    if lock:
        statement = statement.with_for_update(key_share=True, of=Group)
    rows = session.execute(statement).all()
    if not rows:
        raise NotFound("group", reference)
    group, role = min(rows, key=lambda row: row.Group.id != reference)
    return group, role


def require_manager(
    session: Session, reference: str, *, lock: bool = False, change: bool = True
) -> Group:
    """Load a group that the current user manages: an admin, or a teacher until it ends.

    Args:
        session: As for `find_group`.
        reference: As for `find_group`.
        lock: As for `find_group`.
        change: Whether the request changes something, which a teacher may not once it has ended.

    Raises:
        NotFound: As for `find_group`.
        Forbidden: The user is a member of the group, or it has ended.
    """
    group, role = find_group(session, reference, lock=lock)
    user = current_user()
    if user.is_admin:
        return group
    if role != "teacher":
        raise Forbidden(
            f"this needs an admin or a teacher of the group {group.name!r}, and {user.name} is a "
            "member"
        )
    if change and not is_live(session, group):
        raise Forbidden(f"the group {group.name!r} has ended: only an admin may change it")
    return group


def is_live(session: Session, group: Group) -> bool:
    """Return whether a group has not ended."""
    live = select(Group.id).where(Group.id == group.id, groups.is_live())
    return session.scalar(live) is not None


def check_update(group: Group, body: GroupFields) -> None:
    """Check that the current user, who manages a group, may change these fields of it.

    A teacher may set the caps of each member, up to the admin's cap of the whole group, or else up
    to the server's cap of a user.

    Raises:
        Forbidden: A field is the admins' to change.
        Invalid: A cap is above what the admin allowed.
    """
    if current_user().is_admin:
        return
    for field in sorted(body.model_fields_set):
        if not field.startswith(MEMBER):
            raise Forbidden(
                f"only an admin may change {field}. A teacher may change the caps of each member "
                f"({MEMBER}…)"
            )
        value, most = getattr(body, field), _most(group, field.removeprefix(MEMBER))
        if value is not None and most is not None and value > most:
            raise Invalid(
                field,
                value,
                f"may be at most {most:,}, which an admin allows the group {group.name!r}. Lower "
                "it, or ask an admin",
            )


def _most(group: Group, field: str) -> float | None:
    of_all = "max_stored_bytes" if field == "max_corpora_bytes" else field
    most: float | None = getattr(group, of_all)
    return getattr(_settings(), _DEFAULTS[field]) if most is None else most


def add_member(session: Session, group: Group, body: NewMember) -> User:
    """Add a user to a group that the current user manages and that is locked.

    A new user is made under the lock of `hold_back_users_made`.

    An admin adds anybody. A teacher adds new users, and users whom they manage already: whoever
    is in a group is bound by it.

    Raises:
        Forbidden: A teacher may not make teachers.
        NotFound: The user does not exist, or is not the teacher's to add.
        Invalid: The name has an invalid form.
        Conflict: The user is in the group, or the group or the teacher has too many users.
    """
    if body.role == "teacher" and not current_user().is_admin:
        raise Forbidden("only an admin may make somebody a teacher")
    user = _create(session, body.user) if body.create else _find_user(session, body.user)
    limit = _settings().max_members_per_group
    try:
        groups.add_member(session, group, user, body.role, limit)
    except (groups.AlreadyMember, groups.TooManyMembers) as error:
        raise Conflict(str(error)) from None
    return user


def find_member(session: Session, group: Group, reference: str) -> tuple[Membership, User]:
    """Load a user of a group.

    Raises:
        NotFound: No such user is in the group.
    """
    row = session.execute(
        select(Membership, User)
        .join(User, Membership.user_id == User.id)
        .where(
            Membership.group_id == group.id,
            or_(User.name == reference, User.id == _id_or_none(reference)),
        )
    ).first()
    if row is None:
        raise NotFound("user", reference)
    return row.Membership, row.User


def find_group_to_share_with(session: Session, reference: str) -> Group:
    """Load a live group that the current user is in; they stay in it until the commit.

    Raises:
        Invalid: There is none of this name or id.
    """
    statement = (
        select(Group, Membership)
        .join(Membership, Membership.group_id == Group.id)
        .where(
            or_(Group.name == reference, Group.id == _id_or_none(reference)),
            Membership.user_id == current_user().id,
            groups.is_live(),
        )
        .with_for_update(read=True, of=Membership)
    )
    row = session.execute(statement).first()
    if row is None:
        raise Invalid(
            "group",
            reference,
            "no group that you are in and that has not ended. Name one of GET /v1/groups",
        )
    group: Group = row.Group
    return group


def member_counts(session: Session, ids: Collection[str]) -> dict[str, int]:
    """Count the members and teachers of groups, by the groups' ids."""
    counts = (
        select(Membership.group_id, func.count())
        .where(Membership.group_id.in_(ids))
        .group_by(Membership.group_id)
    )
    return {group_id: number for group_id, number in session.execute(counts)}


def hold_back_users_made(session: Session) -> None:
    """Let no other request of the current user make users until the commit.

    It comes before the lock of a group: submissions, too, lock a user first.
    """
    user = select(User.id).where(User.id == current_user().id)
    session.execute(user.with_for_update(key_share=True))


def _create(session: Session, name: str) -> User:
    caller = current_user()
    if caller.is_admin:
        return accounts.create_user(session, name, origin=origin())
    made = session.scalar(select(func.count()).where(User.teacher_id == caller.id)) or 0
    limit = _settings().max_users_per_teacher
    if made >= limit:
        raise Conflict(str(groups.TooManyUsersMade(limit)))
    user = accounts.create_user(session, name, origin=origin())
    user.teacher_id = caller.id
    return user


def _find_user(session: Session, reference: str) -> User:
    named = or_(User.name == reference, User.id == _id_or_none(reference))
    found = session.scalars(select(User).where(named)).all()
    user = min(found, key=lambda user: user.id != reference, default=None)
    if user is None or not _may_add(session, user):
        raise NotFound("user", reference)
    return user


def _may_add(session: Session, user: User) -> bool:
    made = user.teacher_id == current_user().id and not groups.memberships_of(session, user.id)
    return made or may_manage_user(session, user)


def _id_or_none(reference: str) -> str | None:
    try:
        return as_id("group", reference)
    except NotFound:
        return None


def _settings() -> Settings:
    return services().settings
