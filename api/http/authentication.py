"""Authentication: find the user by a key or by the page's cookie, and check what they may do."""

from functools import partial

import structlog
from flask import Response, current_app, g
from sqlalchemy import Connection

from api.errors import SESSION_ENDED, ApiError, Unauthenticated
from api.http.openapi import Handler, scope_of
from api.http.request_body import CompleteRequest
from api.http.session_cookie import check_csrf, token_of_request
from api.permissions import (
    CONFIRM,
    CurrentUser,
    current_user,
    needs_confirming,
    presented_user,
    require_scope,
    unauthenticated,
)
from api.services import services
from shared import sessions
from shared.accounts import KeyRefused, Owner, owner_of_key, owner_of_prefix
from shared.database import reading

ALLOW_ANONYMOUS = "allow_anonymous"
CONFIRMS_KEY = "confirms_key"
OPEN_BY_SETTING = "open_by_setting"
SERVER_ERRORS = 500


def authenticate(current: CompleteRequest) -> None:
    """Set the current user before every request to an endpoint that needs a key.

    Raises:
        Unauthenticated: The request has no key, or one that is not valid, or its session has ended.
    """
    handler = current.handler
    if handler is None or current.method == "OPTIONS" or hasattr(handler, ALLOW_ANONYMOUS):
        return
    if hasattr(handler, OPEN_BY_SETTING) and services().settings.metrics_open:
        return
    authorization = current.headers.get("Authorization")
    token = token_of_request() if authorization is None else None
    key = bearer_key(authorization or "")
    if not key and token is None:
        raise Unauthenticated("send the header «Authorization: Bearer quire_…» with an API key")
    known_keys = services().known_keys
    may_confirm = token is None and hasattr(handler, CONFIRMS_KEY)
    known = known_keys.find(key) if may_confirm else None
    # A key that lacks the scope may have been given it since.
    if known is not None and scope_of(handler) in known.scopes:
        g.current_user = known
        setattr(g, CONFIRM, partial(_confirm, current, key))
        structlog.contextvars.bind_contextvars(user=known.name)
        return
    user = g.current_user = _read_user(current, key, token)
    if may_confirm:
        known_keys.note(key, user)
    structlog.contextvars.bind_contextvars(user=user.name)
    services().key_uses.note(user.key_id)


def _read_user(current: CompleteRequest, key: str, token: str | None) -> CurrentUser:
    """Read whose key it is, or with whose the browser's session began.

    Raises:
        Unauthenticated: As for `authenticate`.
    """
    shared = services()
    try:
        with reading(shared.engine) as connection:
            if token is None:
                return user_of(owner_of_key(connection, key))
            return _user_of_session(connection, token)
    except KeyRefused as refused:
        shared.refusals.sign_in(refused.reason, refused.prefix, current.remote_addr)
        if token is not None:
            raise Unauthenticated(SESSION_ENDED) from None
        raise unauthenticated(refused) from None


def _confirm(current: CompleteRequest, key: str) -> None:
    """Look up the key of the current request, which was valid a moment ago.

    Raises:
        Unauthenticated: It is not valid any more.
        Forbidden: Its owner has another role now, which does not allow the request.
    """
    shared = services()
    try:
        user = _read_user(current, key, None)
        if current.handler is not None:
            require_scope(scope_of(current.handler), user)
    except ApiError as refusal:
        shared.known_keys.forget(key)
        # The refusal stands, whoever asks again, and tells nothing of the owner's limits.
        setattr(g, CONFIRM, partial(_refuse, refusal))
        g.pop("rate_limits", None)
        raise
    shared.known_keys.note(key, user)
    g.current_user = user
    note_confirmed()


def _refuse(refusal: ApiError) -> None:
    raise refusal


def note_confirmed() -> None:
    """Note that the key of the current request is valid."""
    if g.pop(CONFIRM, None) is not None:
        services().key_uses.note(presented_user().key_id)


def confirm_before_answer(response: Response) -> Response:
    """Confirm the key, if nobody has, before anything is told; answer a refusal in its place."""
    # That the server has failed may be told to anybody, and it would fail here as well.
    if not needs_confirming() or response.status_code >= SERVER_ERRORS:
        return response
    try:
        current_user()
    except Exception as error:
        return current_app.make_response(current_app.handle_user_exception(error))
    return response


def check_scope(current: CompleteRequest) -> None:
    """Check before every request that the key has the scope that the endpoint needs.

    A session's requests are also checked to come from the page.

    Raises:
        Forbidden: No key of the user may have it, or the page did not send the request.
        MissingScope: This key lacks it.
    """
    handler = current.handler
    user: CurrentUser | None = g.get("current_user")
    if handler is not None and user is not None:
        check_csrf(user)
        require_scope(scope_of(handler), user)


def _user_of_session(connection: Connection, token: str) -> CurrentUser:
    session = sessions.find(connection, token)
    if session is None:
        raise Unauthenticated(SESSION_ENDED)
    return user_of(owner_of_prefix(connection, session.key_prefix), session.id)


def user_of(owner: Owner, session: str | None = None) -> CurrentUser:
    """Return the current user of a key's owner, and of the browser's session if there is one."""
    return CurrentUser(
        id=owner.id,
        name=owner.name,
        role=owner.role,
        key_id=owner.key_id,
        key_prefix=owner.key_prefix,
        scopes=owner.scopes,
        key_expires_at=owner.expires_at,
        session=session,
    )


def bearer_key(authorization: str) -> str:
    """Return the key of an Authorization header; empty if it has none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def confirms_key(handler: Handler) -> Handler:
    """Mark a handler that confirms a known key itself, or leaves that to `current_user`."""
    setattr(handler, CONFIRMS_KEY, True)
    return handler


def open_by_setting(handler: Handler) -> Handler:
    """Mark a handler that needs no API key if `QUIRE_METRICS_OPEN` says so."""
    setattr(handler, OPEN_BY_SETTING, True)
    return handler


def allow_anonymous(handler: Handler) -> Handler:
    """Mark a handler that needs no API key."""
    setattr(handler, ALLOW_ANONYMOUS, True)
    return handler
