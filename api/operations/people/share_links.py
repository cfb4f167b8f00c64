"""Share links: make one, and show strangers what it shows.

A stranger sees the job or text itself. What the reply of its owner names beside it, such as the
model and the place in the corpus, is left out, and so are the owner's notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from flask import request
from sqlalchemy.orm import Session

from api.errors import NotFound, ShareLinkUnknown, Unauthenticated
from api.http.idempotency import Creation
from api.operations.audit import address, record
from api.operations.people.people import check_future
from api.permissions import as_id, current_user, own_job, own_text
from api.schemas.jobs import EventReply, JobReply
from api.schemas.shares import NewShare, NewShareReply, SharedReply, ShareReply
from api.schemas.texts import TextReply
from api.serializers.jobs import render_job
from api.serializers.texts import render_text
from api.services import services
from shared.clock import database_now
from shared.scheduling import cap_checks
from shared.share_links import LiveLink, find_share, make_share
from shared.tables import GeneratedText, Job, ShareLink

#: Where the page shows what a link shares. The token is in the fragment, which no server logs.
PAGE_PATH = "/shared"
#: What of a job's history strangers see, and what of each event: where a curve has its marks.
SHARED_EVENTS = frozenset(
    {"claimed", "rolled_back", "resumed", "queued", "paused", "succeeded", "failed", "cancelled"}
)
SHARED_DATA = frozenset({"step", "back_to"})
ENDED = "the link was revoked or has expired. Ask whoever sent it for another one"


@dataclass(frozen=True, slots=True)
class SharedView:
    """What a stranger sees of a job that a link shows, until the link ends."""

    link: LiveLink
    token: str

    def check(self, session: Session) -> None:
        """Check that the link still shows it.

        Raises:
            Unauthenticated: It was revoked or has expired, or its owner is disabled.
        """
        if find_share(session.connection(), self.token) is None:
            raise Unauthenticated(ENDED)

    def job(self, _session: Session, job: Job) -> JobReply:
        """Render the job."""
        reply = render_job(job, self.link.owner, shows_corpus=False, model_deleted=True)
        # A checkpoint is named by its id unless it is `best` or `latest`.
        spec = {name: value for name, value in job.spec.items() if name != "checkpoint"}
        return reply.model_copy(update={"after": None, "spec": spec})

    def texts(self, _session: Session, texts: Sequence[GeneratedText]) -> list[TextReply]:
        """Render texts of the job."""
        return [shared_text(text, self.link) for text in texts]


def create_share(session: Session, body: NewShare) -> Creation:
    """Make a link that shows a job or a text of the current user.

    Raises:
        NotFound: The user has no such job or text.
        Invalid: It would have expired already.
        shared.scheduling.errors.TooMany: The user has as many links as allowed.
    """
    user = current_user()
    job = None if body.job is None else own_job(session, body.job).id
    text = None if body.text is None else own_text(session, body.text).id
    expires_at = body.expires_at
    if expires_at is None:
        days = services().settings.share_days
        expires_at = database_now(session.connection()) + timedelta(days=days)
    else:
        check_future(session, expires_at)
    cap_checks.check_share(session.connection(), services().settings, user.id)
    row, token = make_share(session, user.id, expires_at, job_id=job, text_id=text)
    record(session, "share.created", user=user.name, resource=("share", row.id), shows=_kind(row))
    reply = NewShareReply(
        **share_reply(row).model_dump(),
        url=f"{request.host_url.rstrip('/')}{PAGE_PATH}#{token}",
        token=token,
    )
    stored = reply.model_copy(update={"url": None, "token": None})
    return Creation(reply, 201, None, stored_reply=stored)


def revoke_share(session: Session, reference: str) -> None:
    """Revoke a link of the current user.

    Raises:
        NotFound: The user has no such link.
    """
    row = session.get(ShareLink, as_id("share", reference), with_for_update=True)
    user = current_user()
    if row is None or row.user_id != user.id:
        raise NotFound("share", reference)
    record(session, "share.revoked", user=user.name, resource=("share", row.id), shows=_kind(row))
    session.delete(row)


def open_share(session: Session, token: str, *, kind: str | None = None) -> LiveLink:
    """Return the link of a token.

    Args:
        session: The session to read with.
        token: From the request.
        kind: What the link must show, if anything: ``job`` or ``text``.

    Raises:
        ShareLinkUnknown: No link has the token now, or it shows something else.
    """
    link = find_share(session.connection(), token)
    if link is None:
        services().refusals.sign_in("share link", None, address())
        raise ShareLinkUnknown
    if kind == "job" and link.job_id is None:
        raise ShareLinkUnknown
    return link


def shared_reply(session: Session, link: LiveLink, token: str) -> SharedReply:
    """Return what a link shows."""
    shown = {"owner": link.owner, "expires_at": link.expires_at}
    if link.text_id is not None:
        text = shared_text(session.get_one(GeneratedText, link.text_id), link)
        return SharedReply(kind="text", text=text, **shown)
    job = session.get_one(Job, link.job_id)
    return SharedReply(kind="job", job=SharedView(link, token).job(session, job), **shown)


def shared_text(text: GeneratedText, link: LiveLink) -> TextReply:
    """Return a text as strangers see it."""
    reply = render_text(text, link.owner, placed=False, model_deleted=True)
    return reply.model_copy(update={"kept": False, "note": None})


def shared_event(event: EventReply) -> EventReply:
    """Return an event of a job's history as strangers see it."""
    data = {name: value for name, value in event.data.items() if name in SHARED_DATA}
    return event.model_copy(update={"data": data})


def share_reply(row: ShareLink) -> ShareReply:
    """Describe a link to its owner."""
    return ShareReply(
        id=row.id,
        kind=_kind(row),
        job=row.job_id,
        text=row.text_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def _kind(row: ShareLink) -> Literal["job", "text"]:
    return "job" if row.text_id is None else "text"
