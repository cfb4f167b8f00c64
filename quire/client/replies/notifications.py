"""Who is told of jobs, and what was sent. Fields that a newer server adds are kept."""

from datetime import datetime
from typing import Any

from quire.client.replies.base import Reply


class Notification(Reply):
    """Somebody who is told of a job, or of all your trainings."""

    id: str
    kind: str
    target: str
    job: str | None = None
    checkpoints: bool = False
    created_at: datetime


class DeliveryTry(Reply):
    """What came of one try to deliver a message."""

    number: int
    at: datetime
    seconds: float
    status_code: int | None = None
    error: str | None = None


class Delivery(Reply):
    """A message, and what became of it: `pending`, `delivered` or `failed`."""

    id: str
    message_id: str
    job: str | None = None
    kind: str
    target: str
    event: str
    payload: dict[str, Any]
    status: str
    tries: list[DeliveryTry] = []
    next_try_at: datetime | None = None
    created_at: datetime
    ended_at: datetime | None = None


class Secret(Reply):
    """A secret that webhooks are signed with, without itself."""

    created_at: datetime
    expires_at: datetime | None = None


class NewSecret(Reply):
    """A new secret that webhooks are signed with; None if it was shown before."""

    secret: str | None = None
    created_at: datetime
