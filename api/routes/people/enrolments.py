"""Enrolments: one-time links with which users make their first keys themselves."""

from datetime import datetime, timedelta
from typing import Any

from flask import Response, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import (
    ApiError,
    EnrolmentExpired,
    EnrolmentRevoked,
    EnrolmentUnknown,
    EnrolmentUsed,
    Forbidden,
)
from api.http.authentication import allow_anonymous
from api.http.idempotency import Creation, create_once
from api.http.openapi import Resource, returns_non_json
from api.http.page import read_page as read_view
from api.http.paging import SortOrder, read_page
from api.http.rate_limits import creates
from api.http.responses import json_response, no_content, page_response
from api.operations.audit import address, origin
from api.operations.people.people import (
    check_future,
    find_enrolment,
    find_user_to_enrol,
    granted_scopes,
)
from api.permissions import current_user
from api.schemas.headers import IdempotencyHeader
from api.schemas.params import IdPath, Page, UserPath
from api.schemas.replies import Listing
from api.schemas.server import EnrolledReply, EnrolmentReply, NewEnrolmentReply
from api.schemas.users import NewEnrolment, RedeemedEnrolment
from api.services import reading, services, writing
from shared.accounts import (
    EnrolmentRefused,
    create_enrolment,
    find_open,
    redeem,
    revoke_enrolment,
    state_of,
)
from shared.clock import database_now
from shared.scheduling import cap_checks
from shared.tables import ApiKey, Enrolment, User

enrolments = Resource("enrolments", "One-time links for first keys")
#: What needs no key: to look at a link, and to redeem it.
enrol = Resource("enrol", "Redeem a one-time link", prefix="", needs_key=False)

ENROLMENTS = SortOrder("enrolments", (Enrolment.id,))
PAGE_PATH = "/enrol"
PAGE = """This link makes you an API key of this Quire server, once. Nothing has happened yet.

To redeem it, open it in a browser, or give the whole link, with all that follows the #, to:

    quire login 'LINK'

or send what follows the # to {url}/v1/enrol:

    {{"token": "quire_enrol_…", "name": "my laptop"}}
"""
_PAGE: dict[str, Any] = {
    "description": "What to do with the link",
    "content": {
        "text/plain": {"schema": {"type": "string"}},
        "text/html": {"schema": {"type": "string"}},
    },
}


@enrolments.get("/users/<user>/enrolments", Listing[EnrolmentReply])
def list_enrolments(path: UserPath, query: Page) -> Response:
    """List the enrolments of a user, newest first (for admins, and for the user's teacher)."""
    with reading() as session:
        user = find_user_to_enrol(session, path.user)
        statement = select(Enrolment).where(Enrolment.user_id == user.id)
        rows, next_cursor = read_page(session, statement, ENROLMENTS, query)
        now = database_now(session.connection())
    return page_response((_reply(row.Enrolment, user, now) for row in rows), next_cursor)


@enrolments.post("/users/<user>/enrolments", 201, NewEnrolmentReply, scope="manage")
@creates
def add_enrolment(path: UserPath, header: IdempotencyHeader, body: NewEnrolment) -> Response:
    """Make a one-time link with which a user makes a key of their own.

    For admins, and for a teacher of a user who has no key yet: such a link ends with the first key.

    Whoever opens it redeems nothing; `POST /v1/enrol` and `quire login LINK` do, once. Only this
    response shows the link: a replay has `link: null`.
    """
    return create_once(header, body, lambda session: _create(session, path.user, body)).response()


@enrolments.delete("/enrolments/<id>")
def remove_enrolment(path: IdPath) -> Response:
    """Revoke an enrolment (whoever may make one). One that was redeemed stays so, with its key."""
    with writing() as session:
        revoke_enrolment(session, find_enrolment(session, path.id), origin())
    return no_content()


@enrol.get(PAGE_PATH, _PAGE)
@allow_anonymous
@returns_non_json
def read_enrolment_page() -> Response:
    """Show the page, where a press of a button redeems the link, or tell a program what to do.

    It redeems nothing, and learns no token: browsers send no fragment.
    """
    if request.accept_mimetypes.best_match(["text/plain", "text/html"]) == "text/html":
        response = read_view()
        response.headers["Vary"] = "Accept"
        return response
    text = PAGE.format(url=request.host_url.rstrip("/"))
    return Response(text, content_type="text/plain; charset=utf-8", headers={"Vary": "Accept"})


@enrol.post("/v1/enrol", 201, EnrolledReply)
@allow_anonymous
@creates
def redeem_enrolment(body: RedeemedEnrolment) -> Response:
    """Redeem an enrolment: make the key that its link promises, once.

    Only this response shows the key. A link that is unknown is 404; one that was used, has expired
    or was revoked is 410, each with a type of its own.
    """
    sender = address()
    try:
        # Anybody may send a token, and what redeems nothing must not wait for those who write.
        with reading() as session:
            find_open(session, body.token, lock=False)
        with writing() as session:
            enrolment, user = find_open(session, body.token)
            cap_checks.check_key(session.connection(), services().settings, user.id)
            new = redeem(session, enrolment, user, body.name, sender)
            row = session.get_one(ApiKey, new.id)
            reply = EnrolledReply(
                id=new.id,
                user=user.name,
                prefix=new.prefix,
                name=row.name,
                key=new.key,
                scopes=row.scopes.split(),
                created_at=row.created_at,
                expires_at=row.expires_at,
            )
    except EnrolmentRefused as refused:
        services().refusals.sign_in(f"enrolment {refused.reason}", refused.prefix, sender)
        raise _answer(refused) from None
    return json_response(reply, 201)


def _create(session: Session, reference: str, body: NewEnrolment) -> Creation:
    user = find_user_to_enrol(session, reference)
    scopes = granted_scopes(user, body.scopes)
    now = database_now(session.connection())
    expires_at = body.expires_at
    if expires_at is None:
        expires_at = now + timedelta(days=services().settings.enrolment_days)
    else:
        check_future(session, expires_at)
    new = create_enrolment(
        session,
        user,
        expires_at,
        origin(),
        scopes,
        first_key_only=not current_user().is_admin,
    )
    reply = NewEnrolmentReply(
        **_reply(new.row, user, now).model_dump(),
        link=f"{request.host_url.rstrip('/')}{PAGE_PATH}#{new.token}",
    )
    return Creation(reply, 201, None, stored_reply=reply.model_copy(update={"link": None}))


def _reply(enrolment: Enrolment, user: User, now: datetime) -> EnrolmentReply:
    return EnrolmentReply(
        id=enrolment.id,
        user=user.name,
        state=state_of(enrolment, now),
        scopes=enrolment.scopes.split(),
        made_by=enrolment.made_by,
        made_from=enrolment.made_from,
        created_at=enrolment.created_at,
        expires_at=enrolment.expires_at,
        redeemed_at=enrolment.redeemed_at,
        redeemed_from=enrolment.redeemed_from,
        revoked_at=enrolment.revoked_at,
    )


def _answer(refused: EnrolmentRefused) -> ApiError:
    ended = "" if refused.ended_at is None else f" at {refused.ended_at:%Y-%m-%dT%H:%M:%SZ}"
    again = "Ask whoever sent it for another one"
    if refused.reason == "redeemed":
        return EnrolmentUsed(
            f"this link was used{ended}. If it was not you who used it, tell an admin at once: "
            f"the key must be revoked. {again}"
        )
    if refused.reason == "expired":
        return EnrolmentExpired(f"this link expired{ended}. {again}")
    if refused.reason == "revoked":
        return EnrolmentRevoked(f"this link was revoked{ended}. {again}")
    if refused.reason == "late":
        return EnrolmentRevoked(
            "this link was for a first key, and its user has one by now. Sign in with that, or ask "
            "an admin for another link"
        )
    if refused.reason == "disabled":
        return Forbidden("the user of this link is disabled. Ask an admin")
    return EnrolmentUnknown(
        "this server knows no such link. Give the whole token, from `quire_enrol_` to its end"
    )
