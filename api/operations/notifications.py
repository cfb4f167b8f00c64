"""Who is told of the ends of jobs: webhooks and mails, and the secret that signs."""

import math
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.errors import Conflict, Invalid, NotFound, TooManyTests
from api.operations.audit import record
from api.permissions import as_id, current_user, own_job, require_scope
from api.schemas.notifications import JobNotification, NewNotification, Target
from api.services import services
from shared.clock import database_now
from shared.notifications.addresses import BadAddress
from shared.notifications.mail import ADDRESS
from shared.notifications.outbox import TEST_EVENT, trial_delivery
from shared.tables import (
    TERMINAL_STATUSES,
    Delivery,
    Notification,
    NotificationKind,
    User,
)

#: What one user may have for all trainings, and for one job.
MAX_OF_USER, MAX_OF_JOB = 10, 5
#: Test messages of one user in an hour. Anybody's address can be named.
MAX_TESTS, HOUR = 30, timedelta(hours=1)


def add_notification(session: Session, body: NewNotification) -> Notification:
    """Note whom to tell of a job, or of all trainings of the current user.

    Raises:
        Invalid: The address can't be one, or the user has as many as allowed.
        NotFound: The user has no such job.
        Conflict: The job has ended.
        MissingScope: It is for all trainings, and the key lacks the scope `manage`.
    """
    if body.job is None:
        require_scope("manage", current_user())
    else:
        job = own_job(session, body.job)
        session.refresh(job, with_for_update=True)
        if job.status in TERMINAL_STATUSES:
            raise Conflict(f"the job {job.id} has ended ({job.status}): nothing more comes of it")
    return _insert(session, body, body.job)


def notify_of_job(session: Session, job_id: str, targets: Sequence[JobNotification]) -> None:
    """Note whom to tell of a job that this transaction submits.

    Raises:
        Invalid: An address can't be one, or there are more than allowed.
    """
    for target in targets:
        _insert(session, target, job_id)


def _insert(session: Session, body: JobNotification, job_id: str | None) -> Notification:
    kind, target = find_target(body)
    limit = MAX_OF_USER if job_id is None else MAX_OF_JOB
    _lock_user(session)
    count = session.scalar(
        select(func.count())
        .select_from(Notification)
        .where(Notification.user_id == current_user().id, Notification.job_id == job_id)
    )
    if (count or 0) >= limit:
        raise Invalid(
            "job",
            job_id,
            f"{'your trainings have' if job_id is None else 'the job has'} {count} notifications, "
            f"and may have {limit}. Delete one first: DELETE /v1/notifications/{{id}}",
        )
    row = Notification(
        user_id=current_user().id,
        job_id=job_id,
        kind=kind,
        target=target,
        checkpoints=body.checkpoints,
        created_at=database_now(session.connection()),
    )
    session.add(row)
    session.flush()
    record(session, "notification.created", user=current_user().name, kind=kind)
    return row


def remove_notification(session: Session, reference: str) -> None:
    """Tell somebody no more.

    Raises:
        NotFound: The user has no such notification.
    """
    row = session.scalar(
        select(Notification).where(
            Notification.id == as_id("notification", reference),
            Notification.user_id == current_user().id,
        )
    )
    if row is None:
        raise NotFound("notification", reference)
    session.delete(row)
    record(session, "notification.deleted", user=current_user().name)


def add_test(session: Session, body: Target) -> Delivery:
    """Send a message that tells nothing.

    Raises:
        Invalid: The address can't be one.
        TooManyTests: The user has sent as many in the last hour as allowed.
    """
    kind, target = find_target(body)
    _lock_user(session)
    now = database_now(session.connection())
    sent = session.execute(
        select(func.count(), func.min(Delivery.created_at)).where(
            Delivery.user_id == current_user().id,
            Delivery.event == TEST_EVENT,
            Delivery.created_at > now - HOUR,
        )
    ).one()
    if sent[0] >= MAX_TESTS:
        raise TooManyTests(MAX_TESTS, math.ceil((sent[1] + HOUR - now).total_seconds()))
    row = trial_delivery(current_user().id, kind, target, now)
    session.add(row)
    session.flush()
    return row


def _lock_user(session: Session) -> None:
    """Serialise what the caps above count."""
    row = select(User.id).where(User.id == current_user().id)
    session.execute(row.with_for_update(key_share=True))


def find_target(body: Target) -> tuple[NotificationKind, str]:
    """Return the kind and the address of a request.

    Raises:
        Invalid: It names none or two, or one that can't be sent to.
    """
    if (body.url is None) == (body.mail is None):
        raise Invalid("url", body.url, "give url (a webhook) or mail, one of the two")
    if body.url is not None:
        try:
            services().settings.address_policy.parse_url(body.url)
        except BadAddress as error:
            raise Invalid("url", body.url, str(error)) from None
        return "webhook", body.url
    mail = body.mail or ""
    if services().settings.mail_server is None:
        raise Invalid(
            "mail", mail, "this server sends no mail. Use a url, or ask its admin (QUIRE_SMTP_URL)"
        )
    if not ADDRESS.fullmatch(mail):
        raise Invalid("mail", mail, "must be one address such as ann@lab.example, in ASCII")
    domains = services().settings.allowed_mail_domains
    if domains and mail.rpartition("@")[2].lower() not in domains:
        raise Invalid("mail", mail, f"this server sends mail to {', '.join(sorted(domains))} only")
    return "mail", mail


def own_delivery(session: Session, reference: str) -> Delivery:
    """Load a delivery of the current user.

    Raises:
        NotFound: The user has none with this id.
    """
    row = session.scalar(
        select(Delivery).where(
            Delivery.id == as_id("delivery", reference), Delivery.user_id == current_user().id
        )
    )
    if row is None:
        raise NotFound("delivery", reference)
    return row
