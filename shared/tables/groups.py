"""Groups of users: their members, and the caps that bind them."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import Base, Id, one_of

GroupRole = Literal["member", "teacher"]
GROUP_ROLES: tuple[GroupRole, ...] = get_args(GroupRole)


class Group(Base):
    """A group, such as a class. Once it has ended, nothing of it applies any more.

    `max_…` bounds its members together, and null is no bound. `member_max_…` is the cap of each
    member, and null is the settings' default (shared/scheduling/caps.py). Neither concerns its
    teachers.
    """

    __tablename__ = "groups"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    max_device_seconds_per_day: Mapped[float | None]
    max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    member_max_running: Mapped[int | None]
    member_max_queued: Mapped[int | None]
    member_max_device_seconds_per_day: Mapped[float | None]
    member_max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    member_max_corpora_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]


class Membership(Base):
    """A user in a group."""

    __tablename__ = "memberships"
    group_id: Mapped[str] = mapped_column(
        ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[GroupRole] = mapped_column(String(10))
    created_at: Mapped[datetime]

    __table_args__ = (CheckConstraint(one_of("role", GROUP_ROLES), name="role"),)
