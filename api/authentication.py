"""Who asks: the key in the header, and what its owner may do."""

from dataclasses import dataclass

import structlog
from flask import g, request

from api.errors import Forbidden, NotSignedIn
from api.http.openapi import Handler, handler_of_request
from api.services import services
from shared.accounts import owner_of_key
from shared.database import reading

OPEN_TO_ALL = "open_to_all"


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of the key that came with a request."""

    id: str
    name: str
    role: str

    @property
    def is_admin(self) -> bool:
        """Whether they manage users, keys and devices. Nobody sees others' private texts."""
        return self.role == "admin"


def sign_in() -> None:
    """Find out who asks, before every request to an address that needs a key.

    Raises:
        NotSignedIn: There is no key, or none that is known.
    """
    handler = handler_of_request()
    if handler is None or request.method == "OPTIONS" or hasattr(handler, OPEN_TO_ALL):
        return
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise NotSignedIn("send the header «Authorization: Bearer quire_…» with an API key")
    with reading(services().engine) as connection:
        user = owner_of_key(connection, key.strip())
    if user is None:
        raise NotSignedIn("this key is unknown or revoked, or its owner is disabled: ask an admin")
    g.caller = Caller(user.id, user.name, user.role)
    structlog.contextvars.bind_contextvars(user=user.name)


def open_to_all(handler: Handler) -> Handler:
    """Mark a handler that answers without a key."""
    setattr(handler, OPEN_TO_ALL, True)
    return handler


def caller() -> Caller:
    """Who asks."""
    found: Caller = g.caller
    return found


def admin() -> Caller:
    """Who asks, where they are an admin.

    Raises:
        Forbidden: They are not.
    """
    found = caller()
    if not found.is_admin:
        raise Forbidden(f"only an admin may do this, and {found.name} is a {found.role}")
    return found
