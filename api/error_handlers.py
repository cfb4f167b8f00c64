"""Turn every exception into a problem+json response (RFC 9457)."""

import json
import math
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, request
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from api.errors import ApiError, Conflict, DiskFull, Invalid
from api.http.openapi import PROBLEM_JSON
from api.schemas.replies import Problem
from shared import accounts, blobs, free_disk, groups
from shared.database_errors import describe_failure
from shared.queue import errors
from shared.scheduling.errors import CapReached
from shared.texts.findings import RefusedText

RETRY_SECONDS_DATABASE = 5
READS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Register a handler for every kind of exception."""
    app.register_error_handler(ApiError, problem_response)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(CapReached, _cap_reached)
    app.register_error_handler(IntegrityError, _integrity_error)
    app.register_error_handler(OperationalError, _database_error)
    app.register_error_handler(InterfaceError, _database_error)
    app.register_error_handler(PoolTimeout, _database_error)
    app.register_error_handler(blobs.MissingBlob, _unexpected_error)
    for exception, translate in _TRANSLATIONS.items():
        app.register_error_handler(exception, _handler(translate))
    app.register_error_handler(Exception, _unexpected_error)


def problem_response(error: ApiError) -> Response:
    """Return an API error as a response."""
    problem = Problem(
        type=f"/problems/{error.slug}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        errors=error.errors,
        code=error.code,
        ways=error.ways,
    )
    return _response(problem, error.headers)


#: Exceptions of the shared packages as API errors.
_TRANSLATIONS: dict[type[Exception], Callable[[Any], ApiError]] = {
    errors.AlreadyEnded: lambda error: Conflict(str(error)),
    errors.PredecessorFailed: lambda error: Conflict(str(error)),
    accounts.NameTaken: lambda error: Conflict(str(error)),
    accounts.LastAdmin: lambda error: Conflict(str(error)),
    accounts.ScopesBeyondRole: lambda error: Invalid("scopes", None, str(error)),
    accounts.BadName: lambda error: Invalid("name", None, str(error)),
    groups.GroupNameTaken: lambda error: Conflict(str(error)),
    groups.BadGroupName: lambda error: Invalid("name", None, str(error)),
    free_disk.DiskLow: lambda error: DiskFull(str(error)),
    RefusedText: lambda error: Invalid(
        error.field, None, str(error), code=error.finding.code, ways=error.finding.ways
    ),
}


def _handler(translate: Callable[[Exception], ApiError]) -> Callable[[Exception], Response]:
    return lambda error: problem_response(translate(error))


def _http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None and error.code is None:
        status = error.response.status_code
    title = HTTP_STATUS_CODES.get(status, "Error")
    headers = {
        name: value
        for name, value in error.get_headers()
        if name in ("Allow", "Retry-After", "Location", "Accept-Ranges")
    }
    if status == 405:
        detail = f"this URL allows {headers.get('Allow', 'other methods')}"
    elif status == 404:
        detail = "nothing exists at this URL. See /docs for all endpoints"
    elif isinstance(error, RequestEntityTooLarge):
        detail = f"the request body may have at most {request.max_content_length:,} bytes"
    else:
        detail = error.description or title
    slug = title.lower().replace(" ", "-").replace("'", "")
    return _response(
        Problem(type=f"/problems/{slug}", title=title, status=status, detail=detail), headers
    )


def _cap_reached(error: CapReached) -> Response:
    # 429 if waiting helps, 403 if the user has to do something first.
    wait = error.retry_seconds
    problem = Problem(
        type=f"/problems/{error.slug}",
        title=error.title,
        status=403 if wait is None else 429,
        detail=str(error),
    )
    return _response(problem, {} if wait is None else {"Retry-After": str(math.ceil(wait))})


def _integrity_error(error: IntegrityError) -> Response:
    # Another request deleted or created the row after this one had looked it up.
    log.warning("constraint_violated", reason=str(error.orig).splitlines()[0])
    return problem_response(
        Conflict("another request changed a resource that this one needs. Try again")
    )


def _database_error(error: Exception) -> Response:
    orig = getattr(error, "orig", None) or error
    log.error("database_unavailable", reason=str(orig).strip(), kind=type(orig).__name__)
    # If the connection broke during a commit, its outcome is unknown.
    lost = getattr(error, "connection_invalidated", False)
    if lost and request.method not in READS:
        outcome = (
            "The request may or may not have been done. Send it again with the same "
            "Idempotency-Key; without a key, check first"
        )
    else:
        outcome = "Nothing was changed. Try again in a moment"
    problem = Problem(
        type="/problems/database-unavailable",
        title="Database unavailable",
        status=503,
        detail=f"{describe_failure(str(orig))}. {outcome}",
    )
    return _response(problem, {"Retry-After": str(RETRY_SECONDS_DATABASE)})


def _unexpected_error(error: Exception) -> Response:
    log.error("unexpected_error", exc_info=error)
    problem = Problem(
        type="/problems/internal-error",
        title="Internal server error",
        status=500,
        detail="the server failed, not your request. The server's log has the reason under this "
        "response's X-Request-Id",
    )
    return _response(problem, {})


def _response(problem: Problem, headers: dict[str, str]) -> Response:
    # A rejected value may hold a lone surrogate, which JSON can't; it becomes «?».
    body = json.dumps(problem.model_dump(), ensure_ascii=False).encode(errors="replace")
    return Response(
        body,
        status=problem.status,
        headers=headers,
        content_type=PROBLEM_JSON,
    )
