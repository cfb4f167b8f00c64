"""What is wrong with a device, as its workers found it."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, String, false
from sqlalchemy.orm import Mapped, mapped_column

from shared.tables.base import Base, Json


class DeviceHealth(Base):
    """The health of a host's device, which all of its workers share. No row: it is well.

    While it has a problem, its workers take no jobs. At `retry_at` they probe it.
    """

    __tablename__ = "device_health"
    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    device: Mapped[str] = mapped_column(String(60), primary_key=True)
    #: Why it takes no jobs; null while it does.
    problem: Mapped[str | None] = mapped_column(String(2000))
    #: It computed, and failed too often; otherwise a problem was found before it had computed.
    quarantined: Mapped[bool] = mapped_column(default=False, server_default=false())
    since: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    #: Probes that failed one after the other, which lengthens the pause until the next.
    failed_probes: Mapped[int] = mapped_column(default=0, server_default="0")
    #: Recent errors of the device: ``{"at": time, "reason": text}``, oldest first.
    faults: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)

    __table_args__ = (
        CheckConstraint("(problem IS NULL) = (retry_at IS NULL)", name="a_problem_is_tried_again"),
        CheckConstraint("NOT quarantined OR problem IS NOT NULL", name="quarantined_has_a_reason"),
    )
