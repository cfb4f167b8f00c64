"""Errors below ``/openai/v1``: what the rest of the API says as a problem, in OpenAI's envelope."""

import json
import re

from flask import Response, request

from api.error_forms import envelope, is_openai, is_retry_useless
from api.errors import ApiError, NotFound
from api.http.openapi import JSON, PROBLEM_JSON
from api.http.validation_errors import REQUIRED, UNKNOWN_FIELD
from api.schemas.replies import Problem

SHOULD_RETRY = "x-should-retry"
#: OpenAI's API answers 400 to a field that is not valid.
INVALID = 422
#: What fields of `/v1` are called here.
_NAMES = {"length": "max_tokens", "epochs": "n_epochs", "corpus": "training_file"}
_CODES = {
    "not-signed-in": "invalid_api_key",
    "too-many-requests": "rate_limit_exceeded",
    "invalid": "invalid_value",
}
_CHAT = "/chat/completions"


class TextNotReady(ApiError):
    """A text took longer than a request may wait for it. It was cancelled."""

    status, slug, title = 504, "text-not-ready", "The text took too long"


class TextFailed(ApiError):
    """The job of a text failed or was cancelled."""

    status, slug, title = 502, "text-failed", "The text could not be written"


class TooManyWaits(ApiError):
    """Every seat for requests that wait is taken, or this one's went to somebody else."""

    status, slug, title = 503, "too-many-waits", "Too many requests wait for texts"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "5"})


class NoSuchModel(NotFound):
    """There is no such model, or the user may not see it."""

    slug = "model-not-found"


def translate(response: Response) -> Response:
    """Bring a problem to OpenAI's form, if the request came below ``/openai/v1``."""
    if not is_openai(request.path) or response.mimetype != PROBLEM_JSON:
        return response
    problem = Problem.model_validate(json.loads(response.get_data()))
    status = 400 if response.status_code == INVALID else response.status_code
    response.set_data(_body(problem, status))
    response.status_code, response.content_type = status, JSON
    if is_retry_useless(status, response.headers.get("Retry-After")):
        response.headers[SHOULD_RETRY] = "false"
    return response


def event_body(error: ApiError) -> str:
    """Return an error that ends a stream, as the JSON of its event."""
    problem = Problem(type=f"/problems/{error.slug}", title=error.title, detail=error.detail)
    return _body(problem, error.status).decode()


def _body(problem: Problem, status: int) -> bytes:
    slug = problem.type.rpartition("/")[2]
    if slug == "not-found" and request.endpoint is None:
        message = (
            f"there is no call {request.method} {request.path[:100]} here: see docs/clients.md"
        )
        return envelope(status, message, code="unknown_url")
    message, param = problem.detail, None
    code = problem.code or _CODES.get(slug, slug.replace("-", "_"))
    if problem.errors:
        first = problem.errors[0]
        param, message = _renamed(first.field, message)
        if first.message.startswith(UNKNOWN_FIELD):
            code = "unknown_parameter"
            message += ". docs/clients.md lists what this call takes"
        elif first.message == REQUIRED:
            code = "missing_required_parameter"
    elif slug == NoSuchModel.slug:
        param = "model"
    return envelope(status, message, param, code)


def _renamed(field: str, message: str) -> tuple[str, str]:
    """Return a field and the message about it, with the name that the field has here."""
    if field == "prompt" and request.path.endswith(_CHAT):
        return "messages", re.sub("^prompt:", "messages:", message)
    if field == "text" and request.path.endswith("/files"):
        return "file", re.sub("^text:", "file:", message)
    name = _NAMES.get(field, field)
    return name, re.sub(rf"\b{re.escape(field)}\b", name, message) if name != field else message
