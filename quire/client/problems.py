"""Errors that the server answers with, as one small tree below `ApiError`."""

import json
from collections.abc import Sequence
from typing import Any

import httpx2
from pydantic import ValidationError

from quire.client.replies import FieldError, Problem
from quire.errors import ExitCode, NotFound, QuireError

#: Problems of a server that is busy, which a later attempt does not meet.
BUSY = frozenset({"/problems/too-many-requests", "/problems/too-many-uploads"})


class ApiError(QuireError):
    """The server answered with a problem; `str()` of it is one readable line.

    Args:
        problem: The body of the response.
        status: The HTTP status.
        retry_seconds: When to try again (Retry-After); None where the server does not say.

    Attributes:
        code: Why a text was refused, by a name that never changes; None for other problems.
        ways: What can be done about it, each as one sentence.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, problem: Problem, status: int, retry_seconds: float | None = None) -> None:
        super().__init__(problem.line())
        self.problem = problem
        self.status = status
        self.retry_seconds = retry_seconds
        self.code, self.ways = problem.code, problem.ways

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.status, self.retry_seconds)

    @property
    def detail(self) -> str:
        """The server's sentence."""
        return self.problem.detail

    @property
    def fields(self) -> Sequence[FieldError]:
        """The fields of the request that are not valid, each with its value and a message."""
        return self.problem.errors


class AuthenticationError(ApiError):
    """There is no key, or it is unknown, revoked or expired (401)."""

    exit_code = ExitCode.NOT_AUTHORISED


class PermissionDenied(ApiError):
    """The key or its owner may not do this (403)."""

    exit_code = ExitCode.NOT_AUTHORISED


class ResourceNotFound(ApiError, NotFound):
    """There is no such resource, or it is another user's private one (404)."""

    exit_code = ExitCode.NOT_FOUND


class Conflict(ApiError):
    """What the resource is now, or what uses it, does not allow this (409)."""


class InvalidRequest(ApiError):
    """A field or the text is not valid, or too large (400, 413, 415, 422)."""


class TooManyRequests(ApiError):
    """A limit of the user's is reached (429); `retry_seconds` says when to try again."""


class ServerError(ApiError):
    """The server is broken, starting or too busy (500 and above)."""

    exit_code = ExitCode.UNREACHABLE


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: ResourceNotFound,
    409: Conflict,
    400: InvalidRequest,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
}


def checked(response: httpx2.Response) -> httpx2.Response:
    """Return a successful response; raise the problem of another one as an `ApiError`."""
    if not response.is_error:
        return response
    try:
        problem = Problem.model_validate(response.json())
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError):
        problem = Problem(
            title=f"{response.status_code} {response.reason_phrase}".strip(),
            detail="the response is not from a Quire server: check the address",
        )
    wait = response.headers.get("Retry-After", "")
    retry_seconds = float(wait) if wait.isdecimal() else None
    raise error_of(response.status_code)(problem, response.status_code, retry_seconds)


def error_of(status: int) -> type[ApiError]:
    """Return the class of the errors that a status stands for."""
    return ServerError if status >= 500 else _BY_STATUS.get(status, ApiError)
