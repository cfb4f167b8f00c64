"""Read request bodies strictly: whole, and as JSON that follows the standard.

Werkzeug's stream ends silently at its size limit when it is read at once, and when the client
disconnects. A corpus that was cut off this way would be used for training.
"""

import json
from collections.abc import Callable
from functools import cached_property
from typing import IO, Any, cast

from flask import Request, current_app, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wsgi import LimitedStream


class CompleteStream(LimitedStream):
    """A request body of at most `limit` bytes.

    Args:
        stream: The server's stream, which ends at the end of the body.
        limit: The maximum size in bytes.
        expected_bytes: The Content-Length; None for a chunked body.
    """

    def __init__(self, stream: IO[bytes], limit: int, expected_bytes: int | None) -> None:
        super().__init__(stream, limit, is_max=True)
        self.expected_bytes = expected_bytes

    def on_exhausted(self) -> None:
        """Check at the limit that no more bytes follow.

        Raises:
            RequestEntityTooLarge: More bytes follow.
        """
        if self._stream.read(1):
            raise RequestEntityTooLarge

    def on_disconnect(self, error: Exception | None = None) -> None:
        """Check at the end of the stream that the body is complete.

        Raises:
            ClientDisconnected: The body is shorter than its Content-Length.
        """
        if error is not None or self.tell() < (self.expected_bytes or 0):
            raise ClientDisconnected("the request body is incomplete. Send it again")

    def readall(self) -> bytes:
        """Read the whole body.

        Raises:
            RequestEntityTooLarge: The body exceeds the limit.
            ClientDisconnected: The body is shorter than its Content-Length.
        """
        data: bytes = super().readall()
        if self.is_exhausted:
            self.on_exhausted()
        return data


class CompleteRequest(Request):
    """A request that refuses an incomplete body."""

    @cached_property
    def handler(self) -> Callable[..., Any] | None:
        """The function that handles the request; None if the response is a 404 or 405."""
        view = current_app.view_functions.get(self.endpoint or "")
        return None if view is None else handler_of(view)

    @cached_property
    def stream(self) -> IO[bytes]:
        """The unread rest of the body."""
        limit = self.max_content_length
        if limit is None or not self.environ.get("wsgi.input_terminated"):
            return super().stream
        length = self.content_length
        if length is not None and length > limit:
            raise RequestEntityTooLarge
        source: Any = CompleteStream(self.environ["wsgi.input"], limit, length)
        return cast(IO[bytes], source)


def handler_of(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler that flask-openapi has wrapped into a view."""
    wrapped: Callable[..., Any] = getattr(view, "__wrapped__", view)
    return wrapped


def this_request() -> CompleteRequest:
    """Return the request that this thread handles.

    It is not Flask's stand-in, which looks for the request anew at each use.
    """
    current: CompleteRequest = request._get_current_object()  # type: ignore[attr-defined]
    return current


class StrictJson(DefaultJSONProvider):
    """A JSON parser that follows RFC 8259: no NaN or Infinity, and limited nesting."""

    def loads(self, s: str | bytes, **options: Any) -> Any:
        """Parse JSON.

        Raises:
            ValueError: The text is not valid JSON.
        """
        try:
            return json.loads(s, parse_constant=_reject_constant, **options)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
