"""Authentication: find the user by the API key in the Authorization header, and check its scope."""

import structlog
from flask import g, request
from sqlalchemy import Connection

from api.errors import Unauthenticated
from api.http.openapi import Handler, handler_of_request, scope_of
from api.permissions import CurrentUser, require_scope, unauthenticated
from api.services import services
from shared.accounts import KeyRefused, owner_of_key
from shared.database import reading

ALLOW_ANONYMOUS = "allow_anonymous"


def authenticate() -> None:
    """Set the current user before every request to an endpoint that needs a key.

    Raises:
        Unauthenticated: The request has no key, or one that is not valid.
    """
    handler = handler_of_request()
    if handler is None or request.method == "OPTIONS" or hasattr(handler, ALLOW_ANONYMOUS):
        return
    key = bearer_key(request.headers.get("Authorization", ""))
    if not key:
        raise Unauthenticated("send the header «Authorization: Bearer quire_…» with an API key")
    shared = services()
    try:
        with reading(shared.engine) as connection:
            user = user_of_key(connection, key)
    except KeyRefused as refused:
        shared.refusals.sign_in(refused.reason, refused.prefix, request.remote_addr)
        raise unauthenticated(refused) from None
    g.current_user = user
    structlog.contextvars.bind_contextvars(user=user.name)
    shared.key_uses.note(user.key_id)


def check_scope() -> None:
    """Check before every request that the key has the scope that the endpoint needs.

    Raises:
        Forbidden: No key of the user may have it.
        MissingScope: This key lacks it.
    """
    handler = handler_of_request()
    user: CurrentUser | None = g.get("current_user")
    if handler is not None and user is not None:
        require_scope(scope_of(handler), user)


def user_of_key(connection: Connection, key: str) -> CurrentUser:
    """Return the user of a key.

    Raises:
        KeyRefused: The key is not valid.
    """
    owner = owner_of_key(connection, key)
    return CurrentUser(
        id=owner.id,
        name=owner.name,
        role=owner.role,
        key_id=owner.key_id,
        key_prefix=owner.key_prefix,
        scopes=owner.scopes,
        key_expires_at=owner.expires_at,
    )


def bearer_key(authorization: str) -> str:
    """Return the key of an Authorization header; empty if it has none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def allow_anonymous(handler: Handler) -> Handler:
    """Mark a handler that needs no API key."""
    setattr(handler, ALLOW_ANONYMOUS, True)
    return handler
