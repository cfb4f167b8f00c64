"""Tell the front from a request's head how large its body may be, and whether to read it."""

from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException

from api.front import session_tokens
from api.http.authentication import ALLOW_ANONYMOUS, bearer_key
from api.http.openapi import handler_of
from api.http.uploads import ENVELOPE_BYTES
from api.services import EXTENSION, Services
from shared import sessions
from shared.accounts import owner_of_key
from shared.database import reading

UPLOAD_PATH = "/v1/corpora"
SIGN_IN_PATH = "/v1/session"
#: Nobody has signed in yet who could send more.
SIGN_IN_BYTES = 4096


class ApiHeadPolicy:
    """Decides by the application's own routes and keys.

    Args:
        app: The application.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._services: Services = app.extensions[EXTENSION]
        self._limit: int = app.config["MAX_CONTENT_LENGTH"]
        self._upload_limit = self._services.settings.max_corpus_bytes + ENVELOPE_BYTES

    def body_limit(self, method: str, path: str) -> int:
        """The most bytes that the body of such a request may have."""
        if (method, path) == ("POST", SIGN_IN_PATH):
            return SIGN_IN_BYTES
        return self._upload_limit if (method, path) == ("POST", UPLOAD_PATH) else self._limit

    def admits(self, environ: dict[str, Any]) -> bool:
        """Whether the address takes a body, and the key may send it one."""
        try:
            endpoint, _ = self._app.url_map.bind_to_environ(environ).match()
        except HTTPException:
            return False
        if hasattr(handler_of(self._app.view_functions[endpoint]), ALLOW_ANONYMOUS):
            # A page that needs no key takes no body either.
            return environ["REQUEST_METHOD"] not in ("GET", "HEAD")
        authorization = environ.get("HTTP_AUTHORIZATION")
        key = bearer_key(authorization or "")
        tokens = session_tokens(environ.get("HTTP_COOKIE", "")) if authorization is None else {}
        if not key and not tokens:
            return False
        with reading(self._services.engine) as connection:
            if key:
                return owner_of_key(connection, key) is not None
            # Of the cookies of several ports the application picks its own.
            return any(sessions.find(connection, token) for token in tokens.values())
