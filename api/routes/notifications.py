"""Notifications: webhooks and mails about jobs, what was sent, and the secret that signs."""

from collections.abc import Sequence

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import json_response, no_content, page_response
from api.operations.audit import record
from api.operations.notifications import (
    add_notification,
    add_test,
    own_delivery,
    remove_notification,
)
from api.permissions import current_user, own_job
from api.schemas.headers import IdempotencyHeader
from api.schemas.notifications import (
    DeliveryReply,
    NewNotification,
    NewSecretReply,
    NotificationReply,
    SecretReply,
    Target,
    TryReply,
)
from api.schemas.params import IdPath, NotificationsPage, Page
from api.schemas.replies import Listing
from api.services import reading, writing
from shared.clock import database_now
from shared.notifications import signing
from shared.tables import Delivery, DeliveryTry, Notification, WebhookSecret

notifications = Resource("notifications", "Webhooks and mails about your jobs")

NEWEST = SortOrder("notifications", (Notification.id,))
DELIVERIES = SortOrder("deliveries", (Delivery.id,))
SECRETS = SortOrder("webhook_secrets", (WebhookSecret.id,))


@notifications.post("/notifications", 201, NotificationReply)
@creates
def notify(header: IdempotencyHeader, body: NewNotification) -> Response:
    """Ask to be told of the end of a job, or of all your trainings, by a webhook or by mail.

    A webhook is a POST of JSON, signed by the Standard Webhooks scheme with your secret
    (`POST /v1/webhooks/secret`). It is sent again for three days until an answer of 2xx takes it;
    redirects are not followed. A message may come twice, with the same `webhook-id`.
    """

    def create(session: Session) -> Creation:
        return Creation(_reply(add_notification(session, body)), 201)

    return create_once(header, body, create).response()


@notifications.get("/notifications", Listing[NotificationReply])
def list_notifications(query: NotificationsPage) -> Response:
    """List who is told of your jobs, newest first."""
    statement = select(Notification).where(Notification.user_id == current_user().id)
    if query.job is not None:
        statement = statement.where(Notification.job_id == query.job)
    with reading() as session:
        rows, next_cursor = read_page(session, statement, NEWEST, query)
        return page_response([_reply(row.Notification) for row in rows], next_cursor)


@notifications.delete("/notifications/<id>")
def stop_notifying(path: IdPath) -> Response:
    """Tell somebody no more. What waits to be sent is sent all the same."""
    with writing() as session:
        remove_notification(session, path.id)
    return no_content()


@notifications.post("/notifications/test", 201, DeliveryReply)
@creates
def send_test(header: IdempotencyHeader, body: Target) -> Response:
    """Send a message that tells nothing, to try an address. Read what became of it by its id."""

    def create(session: Session) -> Creation:
        row = add_test(session, body)
        return Creation(_delivery_replies(session, [row])[0], 201, f"/v1/deliveries/{row.id}")

    return create_once(header, body, create).response()


@notifications.get("/jobs/<id>/deliveries", Listing[DeliveryReply])
def list_deliveries(path: IdPath, query: Page) -> Response:
    """List what was sent about a job, and each try of it, newest first."""
    with reading() as session:
        job = own_job(session, path.id)
        statement = select(Delivery).where(Delivery.job_id == job.id)
        rows, next_cursor = read_page(session, statement, DELIVERIES, query)
        found = _delivery_replies(session, [row.Delivery for row in rows])
        return page_response(found, next_cursor)


@notifications.get("/deliveries/<id>", DeliveryReply)
def read_delivery(path: IdPath) -> Response:
    """Read one message, and each try to deliver it."""
    with reading() as session:
        return json_response(_delivery_replies(session, [own_delivery(session, path.id)])[0])


@notifications.post("/webhooks/secret", 201, NewSecretReply, scope="manage")
@creates
def rotate_secret(header: IdempotencyHeader) -> Response:
    """Make a new secret for your webhooks. Only this response shows it.

    For 24 hours the secret before signs beside it, so that receivers can be told in between.
    """

    def create(session: Session) -> Creation:
        connection = session.connection()
        now = database_now(connection)
        secret = signing.rotate(connection, current_user().id, now)
        record(session, "webhook.secret_rotated", user=current_user().name)
        reply = NewSecretReply(secret=secret, created_at=now)
        return Creation(reply, 201, stored_reply=reply.model_copy(update={"secret": None}))

    return create_once(header, b"", create).response()


@notifications.get("/webhooks/secret", Listing[SecretReply])
def list_secrets(query: Page) -> Response:
    """List the secrets that your webhooks are signed with, newest first, without showing them."""
    statement = select(WebhookSecret).where(WebhookSecret.user_id == current_user().id)
    with reading() as session:
        rows, next_cursor = read_page(session, statement, SECRETS, query)
    found = [row.WebhookSecret for row in rows]
    return page_response(
        (SecretReply(created_at=row.created_at, expires_at=row.expires_at) for row in found),
        next_cursor,
    )


def _reply(row: Notification) -> NotificationReply:
    return NotificationReply(
        id=row.id,
        kind=row.kind,
        target=row.target,
        job=row.job_id,
        checkpoints=row.checkpoints,
        created_at=row.created_at,
    )


def _delivery_replies(session: Session, rows: Sequence[Delivery]) -> list[DeliveryReply]:
    tries: dict[str, list[TryReply]] = {row.id: [] for row in rows}
    statement = (
        select(DeliveryTry)
        .where(DeliveryTry.delivery_id.in_(tries))
        .order_by(DeliveryTry.delivery_id, DeliveryTry.number)
    )
    for each in session.scalars(statement) if rows else ():
        tries[each.delivery_id].append(
            TryReply(
                number=each.number,
                at=each.at,
                seconds=round(each.seconds, 3),
                status_code=each.status_code,
                error=each.error,
            )
        )
    return [
        DeliveryReply(
            id=row.id,
            message_id=f"msg_{row.id.replace('-', '')}",
            job=row.job_id,
            kind=row.kind,
            target=row.target,
            event=row.event,
            payload=row.payload,
            status=row.status,
            tries=tries[row.id],
            next_try_at=row.next_try_at,
            created_at=row.created_at,
            ended_at=row.ended_at,
        )
        for row in rows
    ]
