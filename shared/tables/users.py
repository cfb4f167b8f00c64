"""Users, their API keys, and the stored replies of their idempotent requests."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import SHA256_CHARACTERS, Base, Id, one_of

ROLES = ("admin", "member")
#: What keys may be allowed to do, in the order in which they are shown.
SCOPES = ("read", "submit", "manage", "admin", "metrics")
#: What keys from before scopes have.
FIRST_SCOPES = SCOPES[:4]
#: How a browser signed in.
SESSION_ORIGINS = ("key", "link")


class User(Base):
    """A user and the user's caps.

    `served_seconds` is the device time charged to the user, decayed to `served_at`. A cap is null
    if the settings' default applies (shared/scheduling/caps.py).
    """

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    role: Mapped[str] = mapped_column(String(10))
    share: Mapped[float] = mapped_column(default=1.0, server_default="1")
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    max_device_seconds_per_day: Mapped[float | None]
    max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_corpora_bytes: Mapped[int | None] = mapped_column(BigInteger)
    #: Settled device time on the day `used_on` (UTC); running jobs come on top.
    used_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    used_on: Mapped[date | None]
    served_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    served_at: Mapped[datetime | None]
    #: The teacher who made this user for a group; null for users whom an admin made. Without a
    #: group such a user has no device time (shared/scheduling/caps.py).
    teacher_id: Mapped[str | None] = mapped_column(Id, index=True)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    disabled_by_teacher: Mapped[bool] = mapped_column(default=False, server_default=false())

    __table_args__ = (
        CheckConstraint(one_of("role", ROLES), name="role"),
        CheckConstraint("share > 0", name="share"),
    )


class ApiKey(Base):
    """A key's prefix and hash. The key itself is shown once and never stored."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(8), unique=True)
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    #: The name of the user who made it, and the address; null for keys from before these columns.
    made_by: Mapped[str | None] = mapped_column(String(100))
    made_from: Mapped[str | None] = mapped_column(String(100))
    #: Separated by spaces. What a key may do is what its scopes and its user's role both allow.
    scopes: Mapped[str] = mapped_column(String(100), server_default=" ".join(FIRST_SCOPES))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    #: Written at most once a minute.
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class PageSession(Base):
    """A browser that is signed in with a key. The cookie's token is never stored, only its hash."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    origin: Mapped[str] = mapped_column(String(10))
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS), unique=True)
    #: The address that signed in.
    made_from: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (CheckConstraint(one_of("origin", SESSION_ORIGINS), name="origin"),)


class SignInLink(Base):
    """A link that signs a browser in once. The row goes when the link is used."""

    __tablename__ = "sign_in_links"
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime]


class IdempotencyKey(Base):
    """The first reply to a POST, so that a repeated request has no second effect."""

    __tablename__ = "idempotency_keys"
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    location: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(index=True)
