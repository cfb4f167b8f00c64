"""What every request gets: an id, a log entry, security headers, and a check of `Accept`."""

import re
import time
import uuid

import structlog
from flask import Response, g, request

from api.error_forms import is_openai
from api.errors import NotAcceptable
from api.http import job_spans
from api.http.openapi import JSON, PROBLEM_JSON, RETURNS_NON_JSON, handler_of_request
from api.permissions import CurrentUser
from api.services import services
from shared.logs import LeanLogger

REQUEST_ID = "X-Request-Id"
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: What a line of the log shows at most of what a client chooses.
METHOD_CHARACTERS = 20
PATH_CHARACTERS = 100
ADDRESS_CHARACTERS = 100
#: A key or a token of this server.
SECRET = re.compile(r"(quire_)[A-Za-z0-9_-]+")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

log = LeanLogger("api.request")


def begin() -> None:
    """Set the request id before anything is logged."""
    g.started_at = time.perf_counter()
    client_id = request.headers.get(REQUEST_ID, "")
    g.request_id = client_id if REQUEST_ID_PATTERN.fullmatch(client_id) else uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def check_accept() -> None:
    """Refuse a request that does not accept JSON.

    Raises:
        NotAcceptable: The `Accept` header excludes JSON.
    """
    handler = handler_of_request()
    if handler is None or hasattr(handler, RETURNS_NON_JSON):
        return
    accepted = request.accept_mimetypes
    if accepted.provided and not (accepted[JSON] or accepted[PROBLEM_JSON]):
        raise NotAcceptable(
            f"Accept: no supported media type (got {str(accepted)[:200]}). Accept {JSON}"
        )


def end(response: Response) -> Response:
    """Add the common headers to the response and log the request."""
    headers = response.headers
    # Not `setdefault`, which makes and drops an exception for each header that is not there.
    present = {name.lower() for name in headers.keys()}  # noqa: SIM118  # iterating gives pairs
    for name, value in SECURITY_HEADERS.items():
        if name.lower() not in present:
            headers.add(name, value)
    if "cache-control" not in present and (
        request.path.startswith("/v1/") or is_openai(request.path)
    ):
        headers.add("Cache-Control", "no-store")
    headers[REQUEST_ID] = g.request_id
    seconds = time.perf_counter() - g.started_at
    rule = request.url_rule
    services().http_figures.note(
        request.method, "" if rule is None else rule.rule, response.status_code, seconds
    )
    job_spans.end_request(response.status_code, seconds)
    _log(response, seconds)
    return response


def _log(response: Response, seconds: float) -> None:
    """Log the request in a line that has a bound, whatever was sent."""
    address = (request.remote_addr or "unknown")[:ADDRESS_CHARACTERS]
    if not services().refusals.is_logged(response.status_code, address):
        return
    user: CurrentUser | None = g.get("current_user")
    # The rule, since a path may hold a secret or the name of a private model.
    rule = request.url_rule
    place = {"path": _without_secrets()} if rule is None else {"route": rule.rule}
    # Frequent health checks would drown the log.
    write = log.debug if request.path.startswith("/health/") else log.info
    write(
        "request",
        method=request.method[:METHOD_CHARACTERS],
        **place,
        status=response.status_code,
        ms=round(seconds * 1000, 1),
        address=address,
        key_prefix=None if user is None else user.key_prefix,
    )


def _without_secrets() -> str:
    """The path of a request that fits no rule, such as a share link with a slash too many."""
    return SECRET.sub(r"\1…", request.path)[:PATH_CHARACTERS]
