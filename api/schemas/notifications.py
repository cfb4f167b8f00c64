"""Requests and replies about webhooks and mails."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.schemas.fields import Id, without_default
from api.schemas.replies import Reply
from api.schemas.requests import Request
from shared.notifications.addresses import MAX_CHARACTERS
from shared.tables import DeliveryStatus, NotificationKind

MAIL_CHARACTERS = 254

Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
Mail = Annotated[str, StringConstraints(min_length=3, max_length=MAIL_CHARACTERS)]


class Target(Request):
    """Where a message goes: give one of the two."""

    url: Url | None = Field(
        None,
        description="an address that gets a signed POST (Standard Webhooks); https, and public "
        "unless the server allows it",
    )
    mail: Mail | None = Field(None, description="an address that gets a mail")


class JobNotification(Target):
    """Whom to tell of a job."""

    checkpoints: bool = Field(
        False, description="tell of each checkpoint of a training, and not only of the end"
    )


Notify = Annotated[
    list[JobNotification],
    Field(
        max_length=5,
        description="whom to tell of the job's end, as in `POST /v1/notifications`",
        json_schema_extra=without_default,
    ),
]


class NewNotification(JobNotification):
    """Whom to tell of a job, or of all your trainings."""

    job: Id | None = Field(
        None, description="your job that has not ended; by default all trainings that end from now"
    )


class NotificationReply(Reply):
    """Somebody who wants to be told."""

    id: str
    kind: NotificationKind
    target: str
    job: str | None = Field(description="null for all your trainings")
    checkpoints: bool
    created_at: datetime


class TryReply(Reply):
    """What came of one try to deliver a message."""

    number: int
    at: datetime
    seconds: float
    status_code: int | None = Field(description="of the answer, of HTTP or SMTP")
    error: str | None = Field(description="null if it was taken")


class DeliveryReply(Reply):
    """A message, and what became of it."""

    id: str
    message_id: str = Field(description="the header `webhook-id`, the same in every try")
    job: str | None = Field(description="null for a test")
    kind: NotificationKind
    target: str
    event: str = Field(
        description="`job.succeeded`, `job.failed`, `job.cancelled`, `checkpoint.recorded` or "
        "`webhook.test`"
    )
    payload: dict[str, Any] = Field(description="the body of the webhook")
    status: DeliveryStatus
    tries: list[TryReply]
    next_try_at: datetime | None = Field(description="null once it is delivered or has failed")
    created_at: datetime
    ended_at: datetime | None


class SecretReply(Reply):
    """A secret that your webhooks are signed with. It is shown once, when it is made."""

    created_at: datetime
    expires_at: datetime | None = Field(
        description="when it stops to sign; null for the newest one"
    )


class NewSecretReply(Reply):
    """A new secret."""

    secret: str | None = Field(
        description="shown once: a replay of the request has null. It begins with `whsec_`, as the "
        "libraries of Standard Webhooks take it"
    )
    created_at: datetime
