"""Share links: make, list and revoke them; and what they show to whoever has one."""

from flask import Response
from sqlalchemy import select

from api.http.authentication import allow_anonymous
from api.http.client_gone import sender_of_request
from api.http.idempotency import create_once
from api.http.openapi import Resource, returns_non_json
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates, shows_strangers
from api.http.responses import json_response, no_content, page_response
from api.operations.following.curves import points_of
from api.operations.following.event_stream import encode_of_job
from api.operations.following.history import history_of
from api.operations.following.job_follower import JobFollower, has_received_end
from api.operations.following.job_texts import texts_of
from api.operations.following.stream_response import DESCRIPTION, stream_response
from api.operations.people.share_links import (
    SHARED_EVENTS,
    SharedView,
    create_share,
    open_share,
    revoke_share,
    share_reply,
    shared_event,
    shared_reply,
    shared_text,
)
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader, LastEventIdHeader
from api.schemas.jobs import EventReply, MetricReply
from api.schemas.params import HistoryPage, IdPath, JobTextsPage, MetricsPage, Page
from api.schemas.replies import Listing
from api.schemas.shares import NewShare, NewShareReply, SharedPath, SharedReply, ShareReply
from api.schemas.texts import TextReply
from api.services import reading, services, writing
from shared.clock import database_now
from shared.tables import Job, ShareLink

shares = Resource("shares", "Links that show one job or one text to whoever has them")
shared = Resource("shared", "What a share link shows", needs_key=False)

NEWEST = SortOrder("shares", (ShareLink.id,))


@shares.get("/shares", Listing[ShareReply])
def list_shares(query: Page) -> Response:
    """List your share links that have not expired, newest first."""
    with reading() as session:
        statement = select(ShareLink).where(
            ShareLink.user_id == current_user().id,
            ShareLink.expires_at > database_now(session.connection()),
        )
        rows, next_cursor = read_page(session, statement, NEWEST, query)
    return page_response((share_reply(row[0]) for row in rows), next_cursor)


@shares.post("/shares", 201, NewShareReply, scope="manage")
@creates
def add_share(header: IdempotencyHeader, body: NewShare) -> Response:
    """Make a link that shows one job or one text of yours to whoever has it.

    They need no account, see what is there now and later, and can change nothing. Of a job they see
    its state, its curves, its texts and its events; their streams take seats of yours. Names of
    models, corpora and other jobs are not shown, nor where a text copies its corpus. Only this
    response shows the link: a replay has `url: null`.
    """
    return create_once(header, body, lambda session: create_share(session, body)).response()


@shares.delete("/shares/<id>")
def remove_share(path: IdPath) -> Response:
    """Revoke a share link. Who has it sees nothing more; open event streams end."""
    with writing() as session:
        revoke_share(session, path.id)
    return no_content()


@shared.get("/shared/<token>", SharedReply)
@allow_anonymous
@shows_strangers
def read_shared(path: SharedPath) -> Response:
    """Read what a share link shows. It needs no key.

    A link that was revoked, has expired or never was is 404 of type `share-link-unknown`.
    """
    with reading() as session:
        link = open_share(session, path.token)
        return json_response(shared_reply(session, link, path.token))


@shared.get("/shared/<token>/metrics", Listing[MetricReply])
@allow_anonymous
@shows_strangers
def list_shared_metrics(path: SharedPath, query: MetricsPage) -> Response:
    """List the loss curves of a shared training, as `GET /v1/jobs/{id}/metrics` does."""
    with reading() as session:
        link = open_share(session, path.token, kind="job")
        points, next_cursor = points_of(session, link.job_id or "", query)
    return page_response(points, next_cursor)


@shared.get("/shared/<token>/history", Listing[EventReply])
@allow_anonymous
@shows_strangers
def list_shared_history(path: SharedPath, query: HistoryPage) -> Response:
    """List what a shared job's curve is marked with, oldest first.

    These are its starts and ends, pauses, resumes and rollbacks, with their steps; no worker and
    no reason is named.
    """
    with reading() as session:
        link = open_share(session, path.token, kind="job")
        events, next_cursor = history_of(session, link.job_id or "", query, SHARED_EVENTS)
    return page_response(map(shared_event, events), next_cursor)


@shared.get("/shared/<token>/texts", Listing[TextReply])
@allow_anonymous
@shows_strangers
def list_shared_texts(path: SharedPath, query: JobTextsPage) -> Response:
    """List the texts of a shared job, as `GET /v1/jobs/{id}/texts` does."""
    with reading() as session:
        link = open_share(session, path.token, kind="job")
        rows, next_cursor = texts_of(session, link.job_id or "", query)
        return page_response((shared_text(row, link) for row in rows), next_cursor)


@shared.get("/shared/<token>/events", DESCRIPTION[200], other_responses={204: DESCRIPTION[204]})
@allow_anonymous
@shows_strangers
@returns_non_json
def follow_shared(path: SharedPath, header: LastEventIdHeader) -> Response:
    """Follow a shared job, as `GET /v1/jobs/{id}/events` does. The stream takes its owner's seat.

    `closed` is the last event of a stream whose link was revoked or has expired.
    """
    with reading() as session:
        link = open_share(session, path.token, kind="job")
        job = session.get_one(Job, link.job_id)
        last_id = header.last_event_id
        followers = []
        if not has_received_end(job, last_id):
            view = SharedView(link, path.token)
            followers = [JobFollower(services(), job.id, last_id, sender_of_request(), view)]
    return stream_response(followers, encode_of_job, link.user_id)
