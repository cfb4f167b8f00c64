"""One HTTP request to the server: time-outs, retries, and errors with a name."""

import ipaddress
import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
from pydantic import ValidationError

from quire.client.replies import Problem
from quire.errors import ExitCode, ServerUnreachable

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
#: A stream of events says something every 15 seconds.
SILENT_SECONDS = 45.0
#: Pauses before the second, third … try of a request that may be sent twice.
RETRY_SECONDS = (0.2, 0.5, 1.0)
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "PATCH"})

ERRNO = re.compile(r"^\[Errno -?\d+\] ")

Content = Callable[[], Iterable[bytes]]


class ApiError(Exception):
    """The server answered with a problem; `str()` of it is one readable line.

    Args:
        problem: The answer's body.
        status: Of HTTP.
        retry_seconds: When to ask again; None where the server does not say.
    """

    def __init__(self, problem: Problem, status: int, retry_seconds: float | None = None) -> None:
        super().__init__(problem.line())
        self.problem = problem
        self.status = status
        self.retry_seconds = retry_seconds

    @property
    def exit_code(self) -> ExitCode:
        """What a command that meets this problem ends with."""
        if self.status in {401, 403}:
            return ExitCode.NOT_AUTHORISED
        if self.status == 404:
            return ExitCode.NOT_FOUND
        return ExitCode.UNREACHABLE if self.status >= 500 else ExitCode.USAGE


class Transport:
    """Requests to one server with one key.

    A request that may safely be sent twice is sent again when the connection
    fails: reads, and a POST, which carries an Idempotency-Key.
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
            # A proxy for the internet must not be asked for this machine's own server.
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
        """Send one request and return the whole answer.

        Args:
            method: The HTTP method.
            path: Below the server's address.
            params: The query; what is None is left out.
            body: Sent as JSON.
            content: Makes the raw body, anew for every try.
            headers: Further headers.
            read_seconds: How long the server may stay silent.
            idempotency_key: Whether to send one, so that a repeated POST makes nothing twice.

        Raises:
            ApiError: The server answered with an error.
            ServerUnreachable: It did not answer.
        """
        sent = dict(headers or {})
        if idempotency_key:
            sent["Idempotency-Key"] = str(uuid.uuid4())
        pauses = RETRY_SECONDS if method in IDEMPOTENT or idempotency_key else ()
        for pause in (*pauses, None):
            try:
                response = self._http.request(
                    method,
                    path,
                    params={k: v for k, v in (params or {}).items() if v is not None},
                    json=body,
                    content=content() if content else None,
                    headers=sent,
                    timeout=httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS),
                )
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                if pause is None or not _may_pass(error):
                    raise ServerUnreachable(self._unreachable(error)) from None
                time.sleep(pause)
            else:
                return checked(response)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx2.Response]:
        """A GET whose body the caller reads piece by piece. Raises as `request` does."""
        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                yield checked(response)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise ServerUnreachable(self._unreachable(error)) from None

    @contextmanager
    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """The lines of a GET as they come. Raises as `request` does."""
        timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        try:
            with self._http.stream("GET", path, headers=dict(headers), timeout=timeout) as response:
                if response.is_error:
                    response.read()
                yield checked(response).iter_lines()
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise ServerUnreachable(self._unreachable(error)) from None

    def _unreachable(self, error: Exception) -> str:
        reason = "it did not answer in time" if _is_timeout(error) else _plain(error)
        return f"{self.url} can't be reached: {reason}. Is the server running (`quire up`)?"


def checked(response: httpx2.Response) -> httpx2.Response:
    """The answer itself, or its problem as an `ApiError`."""
    if not response.is_error:
        return response
    try:
        problem = Problem.model_validate(response.json())
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError):
        problem = Problem(
            title=f"{response.status_code} {response.reason_phrase}".strip(),
            detail="the answer is not one of Quire's: check the address",
        )
    wait = response.headers.get("Retry-After", "")
    raise ApiError(problem, response.status_code, float(wait) if wait.isdecimal() else None)


def _plain(error: Exception) -> str:
    """``connection refused``, out of ``[Errno 111] Connection refused``."""
    return ERRNO.sub("", str(error)).lower() or "no answer"


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, httpx2.TimeoutException)


def _may_pass(error: Exception) -> bool:
    """Whether a later try could succeed; a server that keeps silent is not asked again."""
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
