"""What whoever runs the server tells all its users."""

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import Base, Id, one_of

AnnouncementLevel = Literal["info", "warning"]
ANNOUNCEMENT_LEVELS: tuple[AnnouncementLevel, ...] = get_args(AnnouncementLevel)


class Announcement(Base):
    """A sentence for all users, such as when the server will be away. Null `ends_at` is no end."""

    __tablename__ = "announcements"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    text: Mapped[str] = mapped_column(String(500))
    level: Mapped[AnnouncementLevel] = mapped_column(String(10))
    made_by: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]

    __table_args__ = (CheckConstraint(one_of("level", ANNOUNCEMENT_LEVELS), name="level"),)
