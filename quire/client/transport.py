"""HTTP requests to one server: timeouts, retries, and typed errors."""

import ipaddress
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
from pydantic import ValidationError

from quire.client.replies import Problem
from quire.errors import EventStreamError, ExitCode, InvalidInput, QuireError, ServerUnreachable

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
#: The server sends a heartbeat on an event stream every 15 seconds.
STREAM_READ_SECONDS = 45.0
#: Far above the longest text with its log-probabilities; httpx2 stops at 1 MiB by default.
MAX_EVENT_BYTES = 64 * 1024 * 1024
#: Problems of a server that is busy, which a later attempt does not meet.
BUSY = frozenset({"/problems/too-many-requests", "/problems/too-many-uploads"})
#: How long a request is repeated while the server is busy.
BUSY_SECONDS = 120.0
#: Pauses before the second, third … attempt of a request that may be sent twice.
RETRY_SECONDS = (0.2, 0.5, 1.0)
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "PATCH"})

#: Half a character. Python writes a byte that is not UTF-8 as one of the last 128.
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED_BYTES = range(0xDC80, 0xDD00)
ERRNO = re.compile(r"^\[Errno -?\d+\] ")

Content = Callable[[], Iterable[bytes]]


class ApiError(QuireError):
    """The server answered with a problem; `str()` of it is one readable line.

    Args:
        problem: The body of the response.
        status: The HTTP status.
        retry_seconds: When to try again (Retry-After); None where the server does not say.
    """

    def __init__(self, problem: Problem, status: int, retry_seconds: float | None = None) -> None:
        super().__init__(problem.line())
        self.problem = problem
        self.status = status
        self.retry_seconds = retry_seconds
        self.exit_code = _exit_code(status)
        self.code, self.ways = problem.code, problem.ways


class Transport:
    """Requests to one server with one key.

    Requests that may safely be sent twice are repeated when the connection fails: reads, and
    those that carry an Idempotency-Key.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            # A server on this machine is never reached through a proxy.
            trust_env=not _is_loopback(self.url),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float = READ_SECONDS,
        idempotency_key: bool = False,
    ) -> httpx2.Response:
        """Send one request and return the complete response.

        While the server is too busy for it, it is sent again after the time that the server names.

        Args:
            method: The HTTP method.
            path: The path below the server's address.
            params: The query parameters; those that are None are left out.
            body: The JSON body.
            content: Returns the raw body; called once per attempt.
            headers: Additional headers.
            read_seconds: The read timeout.
            idempotency_key: Whether to send an Idempotency-Key, so that a repeated POST creates
                nothing twice.

        Raises:
            ApiError: The server answered with an error.
            InvalidInput: A field holds what JSON can't.
            ServerUnreachable: The server did not answer.
        """
        for fields in (body or {}, params or {}):
            for field, value in fields.items():
                check_sendable(field, value)
        sent = dict(headers or {})
        if idempotency_key:
            sent["Idempotency-Key"] = str(uuid.uuid4())
        pauses = RETRY_SECONDS if method in IDEMPOTENT or idempotency_key else ()
        give_up_at = time.monotonic() + BUSY_SECONDS
        while True:
            response = self._send(
                pauses,
                lambda: self._http.request(
                    method,
                    path,
                    params={k: v for k, v in (params or {}).items() if v is not None},
                    json=body,
                    content=content() if content else None,
                    headers=sent,
                    timeout=httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS),
                ),
            )
            try:
                return checked(response)
            except ApiError as error:
                wait = error.retry_seconds
                if wait is None or error.problem.type not in BUSY:
                    raise
                if time.monotonic() + wait > give_up_at:
                    raise
                # The server did nothing, so that any request may be sent again.
                time.sleep(wait)

    def _send(
        self, pauses: Iterable[float], send: Callable[[], httpx2.Response]
    ) -> httpx2.Response:
        """Send a request, again after each pause if the connection fails."""
        for pause in (*pauses, None):
            try:
                return send()
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                if pause is None or not _is_retryable(error):
                    raise ServerUnreachable(self._unreachable(error)) from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx2.Response]:
        """Send a GET whose body the caller reads in chunks. Raises as `request` does."""
        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                yield checked(response)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise ServerUnreachable(self._unreachable(error)) from None

    @contextmanager
    def event_source(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx2.EventSource]:
        """Open a stream of Server-Sent Events.

        Raises:
            ApiError: The server answered with an error.
            EventStreamError: The response is no event stream, or an event is too large.
            ServerUnreachable: The connection failed or broke.
        """
        timeout = httpx2.Timeout(STREAM_READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            with self._http.sse(
                path, headers=dict(headers), timeout=timeout, max_event_size=MAX_EVENT_BYTES
            ) as source:
                if source.response.is_error:
                    source.response.read()
                checked(source.response)
                yield source
        except httpx2.SSEError as error:
            raise EventStreamError(f"{self.url}{path} can't be read: {error}") from None
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise ServerUnreachable(self._unreachable(error)) from None

    def _unreachable(self, error: Exception) -> str:
        is_timeout = isinstance(error, httpx2.TimeoutException)
        reason = "it did not answer in time" if is_timeout else _reason(error)
        return f"{self.url} can't be reached: {reason}. Is the server running (`quire up`)?"


def check_sendable(field: str, value: Any) -> None:
    """Refuse what JSON can't hold: bytes that were no UTF-8, and numbers that are none.

    Args:
        field: The field of the request.
        value: Its value, also lists and mappings of values.

    Raises:
        InvalidInput: Names the field and what is wrong with it.
    """
    if isinstance(value, str):
        found = SURROGATE.search(value)
        if found is not None:
            point = ord(found[0])
            what = f"byte 0x{point - 0xDC00:02x}" if point in ESCAPED_BYTES else f"U+{point:04X}"
            raise InvalidInput(
                f"{field}: not valid UTF-8 ({what} at position {found.start()}). Check the "
                "encoding of the terminal or of the script"
            )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{field}: {value} is not a number that can be used")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_sendable(field, key)
            check_sendable(f"{field}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_sendable(field, inner)


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
    raise ApiError(problem, response.status_code, float(wait) if wait.isdecimal() else None)


def _exit_code(status: int) -> ExitCode:
    if status in {401, 403}:
        return ExitCode.NOT_AUTHORISED
    if status == 404:
        return ExitCode.NOT_FOUND
    return ExitCode.UNREACHABLE if status >= 500 else ExitCode.USAGE


def _reason(error: Exception) -> str:
    """Turn ``[Errno 111] Connection refused`` into ``connection refused``."""
    return ERRNO.sub("", str(error)).lower() or "no response"


def _is_retryable(error: Exception) -> bool:
    """Whether another attempt may succeed; a read timeout is not retried."""
    return not isinstance(
        error, httpx2.ReadTimeout | httpx2.UnsupportedProtocol | httpx2.InvalidURL
    )


def _is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
