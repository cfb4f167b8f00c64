"""Sessions of browsers: sign in, look, sign out, and end another one."""

from flask import Response, g
from sqlalchemy import Connection, delete, select
from sqlalchemy.orm import Session

from api.errors import NotFound, Unauthenticated
from api.http import rate_limits
from api.http.authentication import allow_anonymous, user_of
from api.http.openapi import Resource
from api.http.request_body import this_request
from api.http.responses import json_response, no_content
from api.http.session_cookie import clear_cookie, set_cookie, token_of_request
from api.operations.audit import address, record
from api.permissions import as_id, current_user, require_scope, unauthenticated
from api.schemas.params import SessionPath
from api.schemas.server import MeReply, OwnKeyReply, OwnSessionReply
from api.schemas.users import SignIn
from api.serializers.sessions import session_reply
from api.services import reading, services, writing
from shared.accounts import KeyRefused, Owner, in_order, owner_of_key, owner_of_prefix
from shared.sessions import Origin, begin, csrf_token, find, key_of_link, redeem
from shared.tables import ApiKey, PageSession, User

sessions = Resource("sessions", "Browsers that are signed in to the page")
sign_in_resource = Resource("sign in", "Sign a browser in to the page", needs_key=False)

USED_LINK = "the sign-in link is unknown, was used already, or is too old. Sign in with a key"
NO_SESSION = {204: {"description": "No session: the cookie is missing, or its session has ended"}}


@sign_in_resource.post("/session", 201, OwnSessionReply)
@allow_anonymous
def sign_in(body: SignIn) -> Response:
    """Sign a browser in: the response sets a cookie that scripts can't read.

    It needs no Authorization header. The cookie is `HttpOnly` and `SameSite=Strict`, its name holds
    the port, and it is `Secure` behind TLS. The session has the scopes of its key, ends with it,
    and ends by itself at `expires_at`. Requests with the cookie that are no GET need the header
    `X-CSRF-Token`; requests with an Authorization header don't look at the cookie. A link's token
    works once. A key without the scope `read` is refused: it could show nothing.
    """
    # Read first: a stranger must not take SQLite's write lock.
    with reading() as session:
        owner = _owner(session.connection(), body)
    g.current_user = user_of(owner)
    rate_limits.check(this_request())
    # The page is nothing to a key that may not read.
    require_scope("read", g.current_user)
    services().key_uses.note(owner.key_id)
    origin: Origin = "key" if body.link is None else "link"
    with writing() as session:
        if body.link is not None and not redeem(session, body.link):
            raise _refused_link()
        new = begin(
            session,
            owner.key_prefix,
            origin,
            address(),
            services().settings.session_seconds,
        )
        record(session, "session.created", user=owner.name, resource=("session", new.id), by=origin)
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
        if token is None or found is None:
            return no_content()
        try:
            owner = owner_of_prefix(connection, found.key_prefix)
        except KeyRefused:
            return no_content()
        return json_response(_own_reply(session.get_one(PageSession, found.id), owner, token))


@sessions.delete("/session", scope="read")
def sign_out() -> Response:
    """Sign this browser out. A request without a session changes nothing."""
    user = current_user()
    if user.session is not None:
        with writing() as session:
            _end(session, user.session, user.name)
    response = no_content()
    clear_cookie(response)
    return response


@sessions.delete("/sessions/<session>")
def end_session(path: SessionPath) -> Response:
    """End the session of a browser, yours or, for admins, anybody's.

    `GET /v1/users/{user}/keys` lists the sessions of each key.
    """
    user = current_user()
    found = (
        select(PageSession.id, User.name)
        .join(ApiKey, PageSession.key_id == ApiKey.id)
        .join(User, ApiKey.user_id == User.id)
    )
    if not user.is_admin:
        found = found.where(ApiKey.user_id == user.id)
    with writing() as session:
        found = found.where(PageSession.id == as_id("session", path.session))
        row = session.execute(found).one_or_none()
        if row is None:
            raise NotFound("session", path.session)
        _end(session, row.id, row.name)
    return no_content()


def _end(session: Session, session_id: str, owner: str) -> None:
    ended = delete(PageSession).where(PageSession.id == session_id).returning(PageSession.id)
    if session.scalar(ended) is not None:
        record(session, "session.ended", user=owner, resource=("session", session_id))


def _owner(connection: Connection, body: SignIn) -> Owner:
    try:
        if body.link is None:
            return owner_of_key(connection, body.key or "")
        prefix = key_of_link(connection, body.link)
        if prefix is not None:
            return owner_of_prefix(connection, prefix)
    except KeyRefused as refused:
        if body.link is None:
            services().refusals.sign_in(refused.reason, refused.prefix, address())
            raise unauthenticated(refused) from None
    raise _refused_link()


def _refused_link() -> Unauthenticated:
    services().refusals.sign_in("sign-in link", None, address())
    return Unauthenticated(USED_LINK)


def _own_reply(row: PageSession, owner: Owner, token: str) -> OwnSessionReply:
    return OwnSessionReply(
        **session_reply(row).model_dump(),
        user=MeReply(
            id=owner.id,
            name=owner.name,
            role=owner.role,
            key=OwnKeyReply(
                id=owner.key_id,
                prefix=owner.key_prefix,
                scopes=in_order(owner.scopes),
                expires_at=owner.expires_at,
            ),
        ),
        csrf_token=csrf_token(token),
    )
