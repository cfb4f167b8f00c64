"""One-time links with which users make their first keys themselves."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import SHA256_CHARACTERS, Base, Id


class Enrolment(Base):
    """The prefix and hash of a link's token, and what became of it.

    It is open until it is redeemed, revoked, or past `expires_at`.
    """

    __tablename__ = "enrolments"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    prefix: Mapped[str] = mapped_column(String(8), unique=True)
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    #: What the key will be allowed to do.
    scopes: Mapped[str] = mapped_column(String(100))
    #: Whether it redeems nothing once the user has a key. Whoever redeems the link reads what is
    #: private of the user, so that a teacher's link ends when there is something to read.
    first_key_only: Mapped[bool] = mapped_column(default=False, server_default=false())
    made_by: Mapped[str | None] = mapped_column(String(100))
    made_from: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    redeemed_at: Mapped[datetime | None]
    redeemed_from: Mapped[str | None] = mapped_column(String(100))
    revoked_at: Mapped[datetime | None]
