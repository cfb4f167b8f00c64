"""Tell the front from a request's head how large its body may be, and whether to read it."""

from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException

from api.http.authentication import ALLOW_ANONYMOUS, bearer_key
from api.http.openapi import handler_of
from api.http.uploads import ENVELOPE_BYTES
from api.services import EXTENSION, Services
from shared.accounts import owner_of_key
from shared.database import reading

#: What takes a text: its body may be larger than others.
UPLOAD_PATHS = frozenset({"/v1/corpora", "/openai/v1/files"})


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
        is_upload = method == "POST" and path in UPLOAD_PATHS
        return self._upload_limit if is_upload else self._limit

    def admits(self, environ: dict[str, Any]) -> bool:
        """Whether the address takes a body, and the key may send it one."""
        try:
            endpoint, _ = self._app.url_map.bind_to_environ(environ).match()
        except HTTPException:
            return False
        if hasattr(handler_of(self._app.view_functions[endpoint]), ALLOW_ANONYMOUS):
            # A page that needs no key takes no body either.
            return environ["REQUEST_METHOD"] not in ("GET", "HEAD")
        key = bearer_key(environ.get("HTTP_AUTHORIZATION", ""))
        if not key:
            return False
        with reading(self._services.engine) as connection:
            return owner_of_key(connection, key) is not None
