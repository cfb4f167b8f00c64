"""Authentication: find the user by the API key in the Authorization header."""

import structlog
from flask import g, request

from api.errors import INVALID_KEY, Unauthenticated
from api.http.openapi import Handler, handler_of_request
from api.permissions import CurrentUser
from api.services import services
from shared.accounts import owner_of_key
from shared.database import reading

ALLOW_ANONYMOUS = "allow_anonymous"


def authenticate() -> None:
    """Set the current user before every request to an endpoint that needs a key.

    Raises:
        Unauthenticated: The request has no key, or an unknown one.
    """
    handler = handler_of_request()
    if handler is None or request.method == "OPTIONS" or hasattr(handler, ALLOW_ANONYMOUS):
        return
    key = bearer_key(request.headers.get("Authorization", ""))
    if not key:
        raise Unauthenticated("send the header «Authorization: Bearer quire_…» with an API key")
    with reading(services().engine) as connection:
        user = owner_of_key(connection, key)
    if user is None:
        raise Unauthenticated(INVALID_KEY)
    g.current_user = CurrentUser(user.id, user.name, user.role, user.key_prefix)
    structlog.contextvars.bind_contextvars(user=user.name)


def bearer_key(authorization: str) -> str:
    """Return the key of an Authorization header; empty if it has none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def allow_anonymous(handler: Handler) -> Handler:
    """Mark a handler that needs no API key."""
    setattr(handler, ALLOW_ANONYMOUS, True)
    return handler
