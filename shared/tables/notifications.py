"""Who wants to hear of a job's end, and what was sent to them."""

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import Base, Id, one_of, partial

NotificationKind = Literal["webhook", "mail"]
NOTIFICATION_KINDS: tuple[NotificationKind, ...] = get_args(NotificationKind)
DeliveryStatus = Literal["pending", "delivered", "failed"]
DELIVERY_STATUSES: tuple[DeliveryStatus, ...] = get_args(DeliveryStatus)
#: The condition of the partial index of `deliveries`; see shared/tables/jobs.py.
PENDING = "status = 'pending'"


class Notification(Base):
    """A wish to be told of the end of a job, or of all trainings of a user."""

    __tablename__ = "notifications"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: Null for all trainings of the user.
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[NotificationKind] = mapped_column(String(10))
    #: An address of the web or of mail.
    target: Mapped[str] = mapped_column(Text)
    #: Whether each checkpoint is told, too.
    checkpoints: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint(one_of("kind", NOTIFICATION_KINDS), name="kind"),
        Index("ix_notifications_user_id_job_id", "user_id", "job_id"),
    )


class Delivery(Base):
    """A message to one address, written in the transaction of what it tells."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: Null for a test.
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    #: The wish that it answers; no foreign key, so that it stays known what was sent.
    notification_id: Mapped[str | None] = mapped_column(Id)
    kind: Mapped[NotificationKind] = mapped_column(String(10))
    target: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]]
    status: Mapped[DeliveryStatus] = mapped_column(String(10), default="pending")
    #: How often it was tried; a try that a process died in counts.
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    #: When to try next; while a try runs, when another process may take it over.
    next_try_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("kind", NOTIFICATION_KINDS), name="kind"),
        CheckConstraint(one_of("status", DELIVERY_STATUSES), name="status"),
        CheckConstraint(f"({PENDING}) = (next_try_at IS NOT NULL)", name="pending_has_a_next_try"),
        partial("ix_deliveries_next_try_at", "next_try_at", where=PENDING),
    )


class DeliveryTry(Base):
    """What came of one try."""

    __tablename__ = "delivery_tries"
    delivery_id: Mapped[str] = mapped_column(
        ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    seconds: Mapped[float]
    #: The status of the answer, of HTTP or SMTP; null if there was none.
    status_code: Mapped[int | None]
    #: Why it failed; null if it did not.
    error: Mapped[str | None] = mapped_column(Text)


class WebhookSecret(Base):
    """What a user's webhooks are signed with. It must be known to sign, so it is no hash."""

    __tablename__ = "webhook_secrets"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    secret: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    #: When it stops to sign; null for the newest one.
    expires_at: Mapped[datetime | None]
