"""Sessions of browsers: sign in, look, sign out, and end another one."""

from flask import Response, g, request
from sqlalchemy import Connection, delete, select

from api.errors import INVALID_KEY, NotFound, Unauthenticated
from api.http import rate_limits
from api.http.authentication import allow_anonymous
from api.http.openapi import Resource
from api.http.responses import json_response, no_content
from api.http.session_cookie import clear_cookie, set_cookie, token_of_request
from api.permissions import CurrentUser, as_id, current_user
from api.schemas.params import SessionPath
from api.schemas.server import MeReply, OwnSessionReply
from api.schemas.users import SignIn
from api.serializers.sessions import session_reply
from api.services import reading, services, writing
from shared.accounts import Owner, owner_of_key, owner_of_prefix
from shared.sessions import begin, csrf_token, find, key_of_link, redeem
from shared.tables import ApiKey, PageSession

sessions = Resource("sessions", "Browsers that are signed in to the page")
sign_in_resource = Resource("sign in", "Sign a browser in to the page", needs_key=False)

USED_LINK = "the sign-in link is unknown, was used already, or is too old. Sign in with a key"
NO_SESSION = {204: {"description": "No session: the cookie is missing, or its session has ended"}}


@sign_in_resource.post("/session", 201, OwnSessionReply)
@allow_anonymous
def sign_in(body: SignIn) -> Response:
    """Sign a browser in: the response sets a cookie that scripts can't read.

    It needs no Authorization header. The cookie is `HttpOnly` and `SameSite=Strict`, its name holds
    the port, and it is `Secure` behind TLS. The session has the rights of its key, ends with it,
    and ends by itself at `expires_at`. Requests with the cookie that are no GET need the header
    `X-CSRF-Token`; requests with an Authorization header don't look at the cookie. A link's token
    works once.
    """
    # Read first: a stranger must not take SQLite's write lock.
    with reading() as session:
        owner = _owner(session.connection(), body)
    g.current_user = CurrentUser(owner.id, owner.name, owner.role, owner.key_prefix)
    rate_limits.check()
    with writing() as session:
        if body.link is not None and not redeem(session, body.link):
            raise Unauthenticated(USED_LINK)
        new = begin(
            session,
            owner.key_prefix,
            "key" if body.link is None else "link",
            request.remote_addr,
            services().settings.session_seconds,
        )
        reply = _own_reply(session.get_one(PageSession, new.id), owner, new.token)
    response = json_response(reply, 201)
    set_cookie(response, new.token, new.expires_at)
    return response


@sign_in_resource.get("/session", OwnSessionReply, other_responses=NO_SESSION)
@allow_anonymous
def read_session() -> Response:
    """Read the session of this browser's cookie, with the CSRF token; 204 if there is none."""
    token = token_of_request()
    with reading() as session:
        connection = session.connection()
        found = None if token is None else find(connection, token)
        owner = None if found is None else owner_of_prefix(connection, found.key_prefix)
        if token is None or found is None or owner is None:
            return no_content()
        return json_response(_own_reply(session.get_one(PageSession, found.id), owner, token))


@sessions.delete("/session")
def sign_out() -> Response:
    """Sign this browser out. A request without a session changes nothing."""
    user = current_user()
    if user.session is not None:
        with writing() as session:
            session.execute(delete(PageSession).where(PageSession.id == user.session))
    response = no_content()
    clear_cookie(response)
    return response


@sessions.delete("/sessions/<session>")
def end_session(path: SessionPath) -> Response:
    """End the session of a browser, yours or, for admins, anybody's.

    `GET /v1/users/{user}/keys` lists the sessions of each key.
    """
    user = current_user()
    found = select(PageSession.id).join(ApiKey, PageSession.key_id == ApiKey.id)
    if not user.is_admin:
        found = found.where(ApiKey.user_id == user.id)
    with writing() as session:
        session_id = session.scalar(found.where(PageSession.id == as_id("session", path.session)))
        if session_id is None:
            raise NotFound("session", path.session)
        session.execute(delete(PageSession).where(PageSession.id == session_id))
    return no_content()


def _owner(connection: Connection, body: SignIn) -> Owner:
    if body.link is None:
        owner, refusal = owner_of_key(connection, body.key or ""), INVALID_KEY
    else:
        prefix, refusal = key_of_link(connection, body.link), USED_LINK
        owner = None if prefix is None else owner_of_prefix(connection, prefix)
    if owner is None:
        raise Unauthenticated(refusal)
    return owner


def _own_reply(row: PageSession, owner: Owner, token: str) -> OwnSessionReply:
    return OwnSessionReply(
        **session_reply(row).model_dump(),
        user=MeReply(id=owner.id, name=owner.name, role=owner.role),
        csrf_token=csrf_token(token),
    )
