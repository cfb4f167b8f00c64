"""The second form of errors: below ``/openai/v1`` they come in the envelope of OpenAI's API."""

import json
from http import HTTPStatus

OPENAI_PREFIX = "/openai/v1"
#: The clients wait no longer than this before they try again, whatever `Retry-After` says.
LONGEST_RETRY_SECONDS = 60
#: What the clients try again unless they are told that it is useless.
_RETRIED = frozenset({408, 409, 429, *range(500, 600)})
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def is_openai(path: str) -> bool:
    """Whether errors of a path come in the envelope."""
    return path == OPENAI_PREFIX or path.startswith(f"{OPENAI_PREFIX}/")


def envelope(status: int, message: str, param: str | None = None, code: str | None = None) -> bytes:
    """Return the body of an error: ``{"error": {"message", "type", "param", "code"}}``."""
    fallback = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
    error = {
        "message": message,
        "type": fallback or _TYPES.get(status, "invalid_request_error"),
        "param": param,
        "code": code,
    }
    # A rejected value may hold a lone surrogate, which JSON can't; it becomes «?».
    return json.dumps({"error": error}, ensure_ascii=False).encode(errors="replace")


def is_retry_useless(status: int, retry_after: str | None) -> bool:
    """Whether the clients would try again in vain: the server can't say when, or says much later.

    An internal error says nothing of either, and is left to the client.
    """
    if status not in _RETRIED or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    ):
        return False
    return not (retry_after or "").isdigit() or int(retry_after or 0) > LONGEST_RETRY_SECONDS
