"""What goes for every request: its id, its line in the log, its headers, what it accepts."""

import re
import time
import uuid

import structlog
from flask import Response, g, request

from api.errors import NotAcceptable
from api.http.openapi import GIVES_OTHER_THAN_JSON, JSON, PROBLEM_JSON, handler_of_request
from api.http.request_body import discard_the_rest

REQUEST_ID = "X-Request-Id"
REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

log = structlog.get_logger("api.request")


def begin() -> None:
    """Give the request its id, before anything is written into the log."""
    g.began_at = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if REQUEST_ID_FORM.fullmatch(given) else uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def check_accept() -> None:
    """Refuse a request whose sender takes no JSON.

    Raises:
        NotAcceptable: As it says.
    """
    handler = handler_of_request()
    if handler is None or hasattr(handler, GIVES_OTHER_THAN_JSON):
        return
    accepted = request.accept_mimetypes
    if accepted.provided and not (accepted[JSON] or accepted[PROBLEM_JSON]):
        raise NotAcceptable(f"you accept {str(accepted)[:200]}: the API speaks {JSON}")


def end(response: Response) -> Response:
    """Put the headers on an answer, and the request into the log."""
    if response.status_code >= 400 and request.method in ("POST", "PUT", "PATCH"):
        discard_the_rest()
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/v1/"):
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers[REQUEST_ID] = g.request_id
    # A health check every few seconds would drown everything else.
    write = log.debug if request.path.startswith("/health/") else log.info
    write(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        ms=round((time.perf_counter() - g.began_at) * 1000, 1),
    )
    return response
