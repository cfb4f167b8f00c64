"""What every request gets: an id, a log entry, security headers, and a check of `Accept`."""

import re
import time
import uuid

import structlog
from flask import Response, g

from api.error_forms import is_openai
from api.errors import NotAcceptable
from api.http import job_spans
from api.http.openapi import JSON, PROBLEM_JSON, RETURNS_NON_JSON
from api.http.request_body import CompleteRequest, this_request
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


def begin(current: CompleteRequest) -> None:
    """Set the request id before anything is logged."""
    g.started_at = time.perf_counter()
    request_id = current.headers.get(REQUEST_ID, "")
    if not REQUEST_ID_PATTERN.fullmatch(request_id):
        request_id = uuid.uuid4().hex
    g.request_id = request_id
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)


def check_accept(current: CompleteRequest) -> None:
    """Refuse a request that does not accept JSON.

    Raises:
        NotAcceptable: The `Accept` header excludes JSON.
    """
    handler = current.handler
    if handler is None or hasattr(handler, RETURNS_NON_JSON) or "Accept" not in current.headers:
        return
    accepted = current.accept_mimetypes
    if accepted.provided and not (accepted[JSON] or accepted[PROBLEM_JSON]):
        raise NotAcceptable(
            f"Accept: no supported media type (got {str(accepted)[:200]}). Accept {JSON}"
        )


def end(response: Response) -> Response:
    """Add the common headers to the response and log the request."""
    current, headers = this_request(), response.headers
    # Not `setdefault`, which makes and drops an exception for each header that is not there.
    present = {name.lower() for name in headers.keys()}  # noqa: SIM118  # iterating gives pairs
    for name, value in SECURITY_HEADERS.items():
        if name.lower() not in present:
            headers.add(name, value)
    if "cache-control" not in present and (
        current.path.startswith("/v1/") or is_openai(current.path)
    ):
        headers.add("Cache-Control", "no-store")
    headers[REQUEST_ID] = g.request_id
    seconds = time.perf_counter() - g.started_at
    rule = current.url_rule
    services().http_figures.note(
        current.method, "" if rule is None else rule.rule, response.status_code, seconds
    )
    job_spans.end_request(response.status_code, seconds)
    _log(current, response, seconds)
    return response


def _log(current: CompleteRequest, response: Response, seconds: float) -> None:
    """Log the request in a line that has a bound, whatever was sent."""
    address = (current.remote_addr or "unknown")[:ADDRESS_CHARACTERS]
    if not services().refusals.is_logged(response.status_code, address):
        return
    user: CurrentUser | None = g.get("current_user")
    # The rule, since a path may hold a secret or the name of a private model.
    rule = current.url_rule
    place = {"path": _without_secrets(current.path)} if rule is None else {"route": rule.rule}
    # Frequent health checks would drown the log.
    write = log.debug if current.path.startswith("/health/") else log.info
    write(
        "request",
        method=current.method[:METHOD_CHARACTERS],
        **place,
        status=response.status_code,
        ms=round(seconds * 1000, 1),
        address=address,
        key_prefix=None if user is None else user.key_prefix,
    )


def _without_secrets(path: str) -> str:
    """The path of a request that fits no rule, such as a share link with a slash too many."""
    return SECRET.sub(r"\1…", path)[:PATH_CHARACTERS]
