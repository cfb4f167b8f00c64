"""HTTP requests to one server: timeouts, retries, and typed errors."""

import ipaddress
import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from quire.client.aio import runtime
from quire.client.problems import BUSY, ApiError, checked
from quire.client.requests.sendable import check_sendable
from quire.client.tls import tls_context
from quire.errors import EventStreamError, ServerUnreachable

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
#: The server sends a heartbeat on an event stream every 15 seconds.
STREAM_READ_SECONDS = 45.0
#: Far above the longest text with its log-probabilities; httpx2 stops at 1 MiB by default.
MAX_EVENT_BYTES = 64 * 1024 * 1024
#: How long a request is repeated while the server is busy.
BUSY_SECONDS = 120.0
#: Pauses before the second, third … attempt of a request that may be sent twice.
RETRY_SECONDS = (0.2, 0.5, 1.0)
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "PATCH"})
#: Answers of a proxy whose server is not there or too slow.
GATEWAY_ERRORS = frozenset({502, 503, 504})

ERRNO = re.compile(r"^\[Errno -?\d+\] ")

Content = Callable[[], Iterable[bytes]]


class AsyncTransport:
    """Requests to one server with one key.

    Requests that may safely be sent twice are repeated when the connection fails: reads, and
    those that carry an Idempotency-Key. Others are repeated where no connection was made.

    Args:
        url: The server's address.
        key: An API key, or None.
        timeout: How many seconds to wait for an answer.
        verify: Whether certificates are checked; or a PEM file of further authorities to trust.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        timeout: float = READ_SECONDS,
        verify: bool | str | Path | ssl.SSLContext = True,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        headers = {"Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # A server on this machine is never reached through a proxy.
        trust_env = not _is_loopback(self.url)
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=CONNECT_SECONDS),
            trust_env=trust_env,
            verify=tls_context(self.url, verify),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = None,
        idempotency_key: bool = False,
        accepted: int | None = None,
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
            read_seconds: The read timeout; None for the client's.
            idempotency_key: Whether to send an Idempotency-Key, so that a repeated POST creates
                nothing twice.
            accepted: A status that is an answer here, and elsewhere an error.

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
        repeatable = method in IDEMPOTENT or idempotency_key
        give_up_at = time.monotonic() + BUSY_SECONDS
        pauses = iter(RETRY_SECONDS)

        async def send() -> httpx2.Response:
            return await self._http.request(
                method,
                path,
                params={k: v for k, v in (params or {}).items() if v is not None},
                json=body,
                content=_chunks(content()) if content else None,
                headers=sent,
                timeout=httpx2.Timeout(read_seconds or self.timeout, connect=CONNECT_SECONDS),
            )

        while True:
            try:
                response = await self._send(send, pauses, repeatable=repeatable)
                return response if response.status_code == accepted else checked(response)
            except ApiError as error:
                wait = _wait(error, pauses if repeatable else iter(()))
                if wait is None or time.monotonic() + wait > give_up_at:
                    raise
                await runtime.sleep(wait)

    async def _send(
        self,
        send: Callable[[], Awaitable[httpx2.Response]],
        pauses: Iterator[float],
        *,
        repeatable: bool,
    ) -> httpx2.Response:
        """Send a request, again after each pause if the connection fails."""
        while True:
            try:
                return await send()
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                again = _is_retryable(error) if repeatable else _was_not_sent(error)
                pause = next(pauses, None) if again else None
                if pause is None:
                    raise ServerUnreachable(self._unreachable(error)) from None
            await runtime.sleep(pause)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[httpx2.Response]:
        """Send a GET whose body the caller reads in chunks. Raises as `request` does."""
        try:
            async with self._http.stream("GET", path) as response:
                if response.is_error:
                    await response.aread()
                yield checked(response)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise ServerUnreachable(self._unreachable(error)) from None

    @asynccontextmanager
    async def event_source(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.EventSource]:
        """Open a stream of Server-Sent Events.

        Raises:
            ApiError: The server answered with an error.
            EventStreamError: The response is no event stream, or an event is too large.
            ServerUnreachable: The connection failed or broke.
        """
        timeout = httpx2.Timeout(STREAM_READ_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with self._http.sse(
                path, headers=dict(headers), timeout=timeout, max_event_size=MAX_EVENT_BYTES
            ) as source:
                if source.response.is_error:
                    await source.response.aread()
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


async def _chunks(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield what is to be sent, each piece read from its file when its turn comes."""
    reading = iter(pieces)
    while (piece := await runtime.off_loop(_next, reading)) is not None:
        yield piece


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


def _wait(error: ApiError, pauses: Iterator[float]) -> float | None:
    """How many seconds to wait before a refused request is sent again; None for never."""
    if error.problem.type in BUSY:
        # The server did nothing, so that any request may be sent again.
        return error.retry_seconds
    if error.status not in GATEWAY_ERRORS or error.problem.type != "about:blank":
        return None
    pause = next(pauses, None)
    return pause if pause is None else max(pause, error.retry_seconds or 0.0)


def _reason(error: Exception) -> str:
    """Turn ``[Errno 111] Connection refused`` into ``connection refused``."""
    return ERRNO.sub("", str(error)).lower() or "no response"


def _is_retryable(error: Exception) -> bool:
    """Whether another attempt may succeed; a read timeout is not retried."""
    return not isinstance(
        error, httpx2.ReadTimeout | httpx2.UnsupportedProtocol | httpx2.InvalidURL
    )


def _was_not_sent(error: Exception) -> bool:
    """Whether a request failed before the server can have seen any of it."""
    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def _is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
