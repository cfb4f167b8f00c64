"""The front's own refusals, in the application's forms: as problem+json, or in an envelope."""

import json
from http import HTTPStatus

from waitress.task import ErrorTask
from waitress.utilities import Error

from api.error_forms import envelope, is_openai, is_retry_useless

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
HEADERS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
TITLES = {
    400: "The request is not valid HTTP",
    408: "The request took too long",
    413: "The request is too large",
    431: "The head of the request is too large",
    500: "An internal error",
    501: "This part of HTTP is not supported",
    503: "Too many connections",
}
TYPES = {
    400: "bad-request",
    408: "request-timeout",
    413: "too-large",
    431: "head-too-large",
    500: "internal-error",
    501: "not-implemented",
    503: "too-many-connections",
}


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress is not typed
    """Answers a request that the front itself refuses."""

    def execute(self) -> None:
        """Write the problem, and close the connection."""
        error: Error = self.request.error
        self.channel.server.policy.refused(error.code, str(self.channel.addr[0]))
        path = str(self.request.path)
        content_type, body = refusal(path, error.code, str(error.body))
        self.status = f"{error.code} {HTTPStatus(error.code).phrase}"
        self.response_headers.extend([("Content-Type", content_type), *HEADERS])
        if is_openai(path) and is_retry_useless(error.code, None):
            self.response_headers.append(("x-should-retry", "false"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


def refusal(path: str, status: int, detail: str) -> tuple[str, bytes]:
    """The content type and the body of a refusal; `path` is empty where it is not known."""
    if is_openai(path):
        return JSON, envelope(status, detail, code=TYPES[status].replace("-", "_"))
    return PROBLEM_JSON, problem(status, detail)


def problem(status: int, detail: str) -> bytes:
    """The body of a refusal (RFC 9457)."""
    return json.dumps(
        {
            "type": f"/problems/{TYPES[status]}",
            "title": TITLES[status],
            "status": status,
            "detail": detail,
        },
        ensure_ascii=False,
    ).encode()


def whole_response(status: int, detail: str, path: str = "") -> bytes:
    """A complete answer, for the event loop to send without a thread."""
    content_type, body = refusal(path, status, detail)
    retry = "Retry-After: 5\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
        f"{headers}{retry}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
