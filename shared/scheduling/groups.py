"""The caps of groups: those of each member, and those of all members together.

Only `member`s of live groups are concerned: a group's teachers keep the server's caps, and what
they use does not count. A user in several groups has the most generous of the members' caps, and
counts in each of the groups.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row, bindparam, func, or_, select, text

from shared.prepared import Prepared
from shared.scheduling.accounting import RunningTraining, used_today
from shared.tables import (
    WAITING,
    Checkpoint,
    Corpus,
    Group,
    Job,
    Kind,
    Membership,
    Model,
    User,
    UtcDateTime,
)

#: The groups that bind each of some users.
GroupsByUser = Mapping[str, Sequence[Any]]

_GROUPS = Prepared(
    select(Membership.user_id, *Group.__table__.columns)
    .join(Group, Membership.group_id == Group.id)
    .where(
        Membership.user_id.in_(bindparam("users", expanding=True)),
        Membership.role == "member",
        or_(Group.ends_at.is_(None), Group.ends_at > bindparam("now", type_=UtcDateTime)),
    )
    .order_by(Group.id)
)
_MEMBERS = (
    select(Membership.group_id, User.id, User.used_seconds, User.used_on)
    .join(User, Membership.user_id == User.id)
    .where(
        Membership.group_id.in_(bindparam("groups", expanding=True)), Membership.role == "member"
    )
)
#: Serialises all inserts that a cap of one of these groups counts.
_LOCK = (
    select(Group.id)
    .where(Group.id.in_(bindparam("groups", expanding=True)))
    .order_by(Group.id)
    .with_for_update(key_share=True)
)
_QUEUED = (
    select(Job.user_id, func.count())
    .where(Job.user_id.in_(bindparam("users", expanding=True)), text(WAITING))
    .group_by(Job.user_id)
)
_CORPORA = (
    select(Corpus.user_id, func.sum(Corpus.bytes))
    .where(Corpus.user_id.in_(bindparam("users", expanding=True)))
    .group_by(Corpus.user_id)
)
_CHECKPOINTS = (
    select(Model.user_id, func.sum(Checkpoint.size_bytes))
    .join(Checkpoint, Checkpoint.model_id == Model.id)
    .where(Model.user_id.in_(bindparam("users", expanding=True)))
    .group_by(Model.user_id)
)


@dataclass(frozen=True, slots=True)
class GroupRoom:
    """What a group's caps leave for more jobs of its members.

    Attributes:
        max_running: How many trainings of its members may run at once; None for any number.
        slots: How many more jobs may run at once.
        seconds: What is left of its device time today.
    """

    group_id: str
    name: str
    max_running: int | None
    slots: float
    seconds: float

    def after_claim(self, charge_seconds: float) -> Self:
        """The room once one more job of a member is claimed."""
        return replace(self, slots=self.slots - 1, seconds=self.seconds - charge_seconds)


def groups_of(connection: Connection, users: Collection[str], now: datetime) -> GroupsByUser:
    """Read the live groups of which users are members, by user."""
    groups: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    if users:
        for row in _GROUPS.all(connection, {"users": list(users), "now": now}):
            groups[row.user_id].append(row)
    return groups


def cap_of_member(groups: Iterable[Any], field: str, default: Any) -> Any:
    """Return the most generous of the groups' caps of each member; None is no cap.

    Args:
        groups: At least one, from `groups_of`.
        field: The column of the cap, without `member_`.
        default: The cap in a group that sets none.
    """
    caps = [getattr(group, f"member_{field}") for group in groups]
    caps = [default if cap is None else cap for cap in caps]
    return None if None in caps else max(caps)


def is_over(user: Any, groups: Sequence[Any]) -> bool:
    """Return whether a user was made for groups none of which is live any more.

    A cap of the user's own, which an admin sets, lets the user go on all the same.
    """
    if user.teacher_id is None or groups:
        return False
    own = (user.max_running, user.max_queued, user.max_device_seconds_per_day)
    return all(cap is None for cap in own)


def rooms_of(
    connection: Connection,
    kind: Kind,
    groups: GroupsByUser,
    running: Sequence[RunningTraining],
    held: Mapping[str, float],
    now: datetime,
) -> dict[str, GroupRoom]:
    """Read what the caps of groups leave for more jobs of a kind, by the groups' ids.

    Args:
        connection: In the claim's transaction.
        kind: ``train`` or ``generate``. The cap of running jobs counts trainings only.
        groups: From `groups_of`. A group without such a cap has no room in the reply.
        running: All running trainings.
        held: Today's device-seconds of running jobs, by user.
        now: The time.
    """
    capped = {
        group.id: group
        for of_user in groups.values()
        for group in of_user
        if (group.max_running is not None and kind == "train")
        or group.max_device_seconds_per_day is not None
    }
    if not capped:
        return {}
    members = _members(connection, capped)
    rooms = {}
    for group_id, group in capped.items():
        of_group = {member.id: member for member in members[group_id]}
        slots = seconds = float("inf")
        if group.max_running is not None and kind == "train":
            slots = group.max_running - sum(each.user_id in of_group for each in running)
        if group.max_device_seconds_per_day is not None:
            seconds = group.max_device_seconds_per_day - _used(of_group.values(), held, now)
        rooms[group_id] = GroupRoom(group_id, group.name, group.max_running, slots, seconds)
    return rooms


@dataclass(frozen=True, slots=True)
class MemberUse:
    """What one user has of each thing that a group's caps limit."""

    running: int = 0
    queued: int = 0
    device_seconds_today: float = 0.0
    stored_bytes: int = 0

    def __add__(self, other: "MemberUse") -> "MemberUse":
        return MemberUse(
            self.running + other.running,
            self.queued + other.queued,
            self.device_seconds_today + other.device_seconds_today,
            self.stored_bytes + other.stored_bytes,
        )


def lock_groups(connection: Connection, groups: Iterable[Any]) -> None:
    """Lock groups until the commit; the user whose groups they are is locked already."""
    if ids := [group.id for group in groups]:
        connection.execute(_LOCK, {"groups": ids}).all()


def queued_in(connection: Connection, group_id: str) -> int:
    """Count the queued and paused jobs of a group's members."""
    return sum(_by_user(connection, _QUEUED, _member_ids(connection, group_id)).values())


def stored_bytes_in(connection: Connection, group_id: str) -> int:
    """Sum the bytes of corpora and checkpoints of a group's members."""
    return sum(_stored_bytes(connection, _member_ids(connection, group_id)).values())


def used_today_in(
    connection: Connection, group_id: str, held: Mapping[str, float], now: datetime
) -> float:
    """Sum today's device-seconds of a group's members, given those of running jobs by user."""
    return _used(_members(connection, [group_id])[group_id], held, now)


def uses_of(
    connection: Connection,
    users: Collection[Any],
    running: Sequence[RunningTraining],
    held: Mapping[str, float],
    now: datetime,
) -> dict[str, MemberUse]:
    """Read what users have now, given their rows, by their ids."""
    ids = [user.id for user in users]
    queued, stored = _by_user(connection, _QUEUED, ids), _stored_bytes(connection, ids)
    return {
        user.id: MemberUse(
            running=sum(training.user_id == user.id for training in running),
            queued=queued.get(user.id, 0),
            device_seconds_today=_used([user], held, now),
            stored_bytes=stored[user.id],
        )
        for user in users
    }


def _members(connection: Connection, groups: Iterable[str]) -> defaultdict[str, list[Any]]:
    members: defaultdict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(_MEMBERS, {"groups": list(groups)}):
        members[row.group_id].append(row)
    return members


def _member_ids(connection: Connection, group_id: str) -> list[str]:
    return [member.id for member in _members(connection, [group_id])[group_id]]


def _used(members: Iterable[Any], held: Mapping[str, float], now: datetime) -> float:
    return sum(
        used_today(member.used_seconds, member.used_on, now) + held.get(member.id, 0.0)
        for member in members
    )


def _by_user(connection: Connection, statement: Any, users: Sequence[str]) -> dict[str, int]:
    rows = connection.execute(statement, {"users": users}) if users else ()
    # PostgreSQL's sum of bigints is a decimal.
    return {user_id: int(number) for user_id, number in rows}


def _stored_bytes(connection: Connection, users: Sequence[str]) -> dict[str, int]:
    corpora = _by_user(connection, _CORPORA, users)
    checkpoints = _by_user(connection, _CHECKPOINTS, users)
    return {user: corpora.get(user, 0) + checkpoints.get(user, 0) for user in users}
