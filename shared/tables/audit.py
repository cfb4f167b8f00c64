"""What the audit keeps: who did what to whose, when and from where."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import Base, Id


class AuditEvent(Base):
    """One event. It names people and ids, never what is in a text, and no name that is private.

    Names of users are copied: an event outlives what it is about. Refused sign-ins are counted in
    one row for each address and minute, the only rows that have `counted_minute`.
    """

    __tablename__ = "audit_events"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(index=True)
    action: Mapped[str] = mapped_column(String(40))
    #: Who did it; null for whoever administers the machine, and for who was refused.
    actor: Mapped[str | None] = mapped_column(String(100))
    key_prefix: Mapped[str | None] = mapped_column(String(8))
    address: Mapped[str | None] = mapped_column(String(100))
    #: The user whom it concerns.
    user: Mapped[str | None] = mapped_column(String(100))
    resource_kind: Mapped[str | None] = mapped_column(String(20))
    resource_id: Mapped[str | None] = mapped_column(String(40))
    details: Mapped[dict[str, Any] | None]
    count: Mapped[int] = mapped_column(default=1, server_default="1")
    counted_minute: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("address", "counted_minute"),
        CheckConstraint("count > 0", name="count"),
    )
