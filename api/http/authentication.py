"""Authentication: find the user by the key in the Authorization header, or by the cookie."""

import structlog
from flask import g, request

from api.errors import INVALID_KEY, SESSION_ENDED, Unauthenticated
from api.http.openapi import Handler, handler_of_request
from api.http.session_cookie import check_csrf, token_of_request
from api.permissions import CurrentUser
from api.services import services
from shared import sessions
from shared.accounts import owner_of_key, owner_of_prefix
from shared.database import reading

ALLOW_ANONYMOUS = "allow_anonymous"


def authenticate() -> None:
    """Set the current user before every request to an endpoint that needs a key.

    Raises:
        Unauthenticated: The request has no key, or an unknown one, or its session has ended.
        Forbidden: The page's cookie came without the CSRF token.
    """
    handler = handler_of_request()
    if handler is None or request.method == "OPTIONS" or hasattr(handler, ALLOW_ANONYMOUS):
        return
    if "Authorization" not in request.headers and (token := token_of_request()) is not None:
        g.current_user = _user_of_session(token)
    else:
        g.current_user = _user_of_key(bearer_key(request.headers.get("Authorization", "")))
    structlog.contextvars.bind_contextvars(user=g.current_user.name)


def _user_of_key(key: str) -> CurrentUser:
    if not key:
        raise Unauthenticated("send the header «Authorization: Bearer quire_…» with an API key")
    with reading(services().engine) as connection:
        user = owner_of_key(connection, key)
    if user is None:
        raise Unauthenticated(INVALID_KEY)
    return CurrentUser(user.id, user.name, user.role, user.key_prefix)


def _user_of_session(token: str) -> CurrentUser:
    with reading(services().engine) as connection:
        session = sessions.find(connection, token)
        user = None if session is None else owner_of_prefix(connection, session.key_prefix)
    if session is None or user is None:
        raise Unauthenticated(SESSION_ENDED)
    check_csrf(token)
    return CurrentUser(user.id, user.name, user.role, user.key_prefix, session.id)


def bearer_key(authorization: str) -> str:
    """Return the key of an Authorization header; empty if it has none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def allow_anonymous(handler: Handler) -> Handler:
    """Mark a handler that needs no API key."""
    setattr(handler, ALLOW_ANONYMOUS, True)
    return handler
