"""Every error as problem+json (RFC 9457), in the one place where errors become answers."""

import json
import math
from collections.abc import Callable

import structlog
from flask import Flask, Response, request
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from api.errors import Conflict, Invalid, Refusal
from api.http.openapi import PROBLEM_JSON
from api.schemas.replies import Problem
from shared import accounts, blobs, corpus_text
from shared.database_errors import describe_failure
from shared.queue import errors
from shared.scheduling.errors import CapReached

RETRY_SECONDS_DATABASE = 5
READS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Translate errors of all kinds."""
    app.register_error_handler(Refusal, refuse)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(CapReached, _cap_reached)
    app.register_error_handler(IntegrityError, _integrity)
    app.register_error_handler(OperationalError, _database)
    app.register_error_handler(InterfaceError, _database)
    app.register_error_handler(PoolTimeout, _database)
    app.register_error_handler(blobs.MissingBlob, _unexpected)
    for kind, refusal in _NAMED.items():
        app.register_error_handler(kind, _translated(refusal))
    app.register_error_handler(Exception, _unexpected)


def refuse(refusal: Refusal) -> Response:
    """A refusal as an answer."""
    problem = Problem(
        type=f"/problems/{refusal.slug}",
        title=refusal.title,
        status=refusal.status,
        detail=refusal.detail,
        errors=refusal.errors,
    )
    return _answer(problem, refusal.headers)


#: What the foundation refuses, in the API's terms.
_NAMED: dict[type[Exception], Callable[[Exception], Refusal]] = {
    errors.AlreadyEnded: lambda error: Conflict(str(error)),
    errors.PredecessorFailed: lambda error: Conflict(str(error)),
    accounts.NameTaken: lambda error: Conflict(str(error)),
    accounts.LastAdmin: lambda error: Conflict(str(error)),
    accounts.BadName: lambda error: Invalid("name", None, str(error)),
    corpus_text.UndecodableText: lambda error: Invalid("text", None, str(error)),
    corpus_text.UnknownEncoding: lambda error: Invalid("encoding", None, str(error)),
    corpus_text.EmptyText: lambda error: Invalid("text", "", str(error)),
    corpus_text.UnstorableText: lambda error: Invalid("text", None, str(error)),
}


def _translated(refusal: Callable[[Exception], Refusal]) -> Callable[[Exception], Response]:
    return lambda error: refuse(refusal(error))


def _http(error: HTTPException) -> Response:
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
        detail = f"this address takes {headers.get('Allow', 'other methods')}"
    elif status == 404:
        detail = "there is nothing at this address: /docs shows what there is"
    elif isinstance(error, RequestEntityTooLarge):
        detail = f"a request may have at most {request.max_content_length} bytes here"
    else:
        detail = error.description or title
    slug = title.lower().replace(" ", "-").replace("'", "")
    return _answer(
        Problem(type=f"/problems/{slug}", title=title, status=status, detail=detail), headers
    )


def _cap_reached(error: CapReached) -> Response:
    # 429 where time alone will help, 403 where the user has to do something first.
    wait = error.retry_seconds
    problem = Problem(
        type=f"/problems/{error.slug}",
        title=error.title,
        status=403 if wait is None else 429,
        detail=str(error),
    )
    return _answer(problem, {} if wait is None else {"Retry-After": str(math.ceil(wait))})


def _integrity(error: IntegrityError) -> Response:
    # What was looked up a moment ago was deleted, or made, by somebody else meanwhile.
    log.warning("constraint", reason=str(error.orig).splitlines()[0])
    return refuse(Conflict("something this needs was changed at the same moment: try again"))


def _database(error: Exception) -> Response:
    orig = getattr(error, "orig", None) or error
    log.error("database_unavailable", reason=str(orig).strip(), kind=type(orig).__name__)
    # What became of a commit, a connection that was lost during it does not tell.
    lost = getattr(error, "connection_invalidated", False)
    if lost and request.method not in READS:
        outcome = (
            "this may have been done or not: send it again with the same Idempotency-Key, "
            "or look before you send it without one"
        )
    else:
        outcome = "nothing was changed, try again in a moment"
    problem = Problem(
        type="/problems/database-unavailable",
        title="The database can't be reached",
        status=503,
        detail=f"{describe_failure(str(orig))}: {outcome}",
    )
    return _answer(problem, {"Retry-After": str(RETRY_SECONDS_DATABASE)})


def _unexpected(error: Exception) -> Response:
    log.error("unexpected_error", exc_info=error)
    problem = Problem(
        type="/problems/internal-error",
        title="Something is wrong in the server",
        status=500,
        detail="this is not your request's fault: the server's log has the reason under the "
        "X-Request-Id of this answer",
    )
    return _answer(problem, {})


def _answer(problem: Problem, headers: dict[str, str]) -> Response:
    # Half a surrogate pair, sent back as the refused value, would be no JSON: it becomes «?».
    written = json.dumps(problem.model_dump(), ensure_ascii=False).encode(errors="replace")
    return Response(
        written,
        status=problem.status,
        headers=headers,
        content_type=PROBLEM_JSON,
    )
