"""Tell the front from a request's head how large its body may be, and whether to read it."""

from collections.abc import Collection
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import Connection
from werkzeug.exceptions import HTTPException

from api.front import session_tokens
from api.http.authentication import ALLOW_ANONYMOUS, bearer_key
from api.http.openapi import scope_of
from api.http.request_body import handler_of
from api.http.uploads import ENVELOPE_BYTES
from api.services import EXTENSION, Services
from shared import sessions
from shared.accounts import KeyRefused, owner_of_key, owner_of_prefix
from shared.database import reading

#: What takes a text: its body may be larger than others.
UPLOAD_PATHS = ("/v1/corpora", "/openai/v1/files")
IMPORT_PATH = "/v1/models/import"
ENROL_PATH = "/v1/enrol"
SIGN_IN_PATH = "/v1/session"
#: Anybody may send such a body.
MAX_ANONYMOUS_BYTES = 4096

log = structlog.get_logger("api.request")


class ApiHeadPolicy:
    """Decides by the application's own routes and keys.

    Args:
        app: The application.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._services: Services = app.extensions[EXTENSION]
        self._limit: int = app.config["MAX_CONTENT_LENGTH"]
        upload_limit = self._services.settings.max_corpus_bytes + ENVELOPE_BYTES
        self._limits: dict[tuple[str, str], int] = {
            **{("POST", path): upload_limit for path in UPLOAD_PATHS},
            ("POST", IMPORT_PATH): self._services.settings.max_model_bytes,
            ("POST", ENROL_PATH): MAX_ANONYMOUS_BYTES,
            ("POST", SIGN_IN_PATH): MAX_ANONYMOUS_BYTES,
        }

    def body_limit(self, method: str, path: str) -> int:
        """The most bytes that the body of such a request may have."""
        return self._limits.get((method, path), self._limit)

    def admits(self, environ: dict[str, Any]) -> bool:
        """Whether the address takes a body, and the key may send it one."""
        try:
            endpoint, _ = self._app.url_map.bind_to_environ(environ).match()
        except HTTPException:
            return False
        handler = handler_of(self._app.view_functions[endpoint])
        if hasattr(handler, ALLOW_ANONYMOUS):
            # A page that needs no key takes no body either.
            return environ["REQUEST_METHOD"] not in ("GET", "HEAD")
        authorization = environ.get("HTTP_AUTHORIZATION")
        key = bearer_key(authorization or "")
        tokens = session_tokens(environ.get("HTTP_COOKIE", "")) if authorization is None else {}
        if not key and not tokens:
            return False
        with reading(self._services.engine) as connection:
            if key:
                return scope_of(handler) in _scopes_of_key(connection, key)
            # Of the cookies of several ports the application picks its own.
            return any(
                scope_of(handler) in _scopes_of_session(connection, token)
                for token in tokens.values()
            )

    def refused(self, status: int, address: str) -> None:
        """Log the front's own refusal, or count it as part of a flood."""
        if self._services.refusals.is_logged(status, address):
            log.info("request", status=status, address=address)


def _scopes_of_key(connection: Connection, key: str) -> Collection[str]:
    try:
        return owner_of_key(connection, key).scopes
    except KeyRefused:
        return ()


def _scopes_of_session(connection: Connection, token: str) -> Collection[str]:
    session = sessions.find(connection, token)
    try:
        return () if session is None else owner_of_prefix(connection, session.key_prefix).scopes
    except KeyRefused:
        return ()
