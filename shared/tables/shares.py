"""Links that show one job or one text to whoever has them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.ids import new_id
from shared.tables.base import SHA256_CHARACTERS, Base, Id


class ShareLink(Base):
    """A read-only link to a job or a text. The row goes when the link is revoked."""

    __tablename__ = "share_links"
    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    sha256: Mapped[str] = mapped_column(String(SHA256_CHARACTERS), unique=True)
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    text_id: Mapped[str | None] = mapped_column(
        ForeignKey("texts.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("(job_id IS NULL) <> (text_id IS NULL)", name="names_one"),)
