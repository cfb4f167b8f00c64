"""Request bodies that are whole, or refused.

A stream of Werkzeug's ends quietly at its limit when it is read in one go, and where a
client went away in the middle. A text cut off like that would be trained on.
"""

import time
from functools import cached_property
from typing import IO, Any, cast

from flask import Request, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wsgi import LimitedStream

PIECE_BYTES = 64 * 1024
DISCARD_SECONDS = 5.0


class WholeStream(LimitedStream):
    """A body of at most `limit` bytes.

    Args:
        stream: From the server, which ends it where the body ends.
        limit: The most that may be read.
        expected_bytes: What the client said it would send; None where it did not.
    """

    def __init__(self, stream: IO[bytes], limit: int, expected_bytes: int | None) -> None:
        super().__init__(stream, limit, is_max=True)
        self.expected_bytes = expected_bytes

    def on_exhausted(self) -> None:
        """At the limit: is there more?

        Raises:
            RequestEntityTooLarge: There is.
        """
        if self._stream.read(1):
            raise RequestEntityTooLarge

    def on_disconnect(self, error: Exception | None = None) -> None:
        """No byte came: was that all?

        Raises:
            ClientDisconnected: It was not.
        """
        if error is not None or self.tell() < (self.expected_bytes or 0):
            raise ClientDisconnected("the body ended before it was whole: send it again")

    def readall(self) -> bytes:
        """Everything.

        Raises:
            RequestEntityTooLarge: There is more than may be.
            ClientDisconnected: There is less than was said.
        """
        data: bytes = super().readall()
        if self.is_exhausted:
            self.on_exhausted()
        return data


class WholeRequest(Request):
    """A request whose body is whole, or refused."""

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body, from where it was read to."""
        limit = self.max_content_length
        if limit is None or not self.environ.get("wsgi.input_terminated"):
            return super().stream
        length = self.content_length
        if length is not None and length > limit:
            raise RequestEntityTooLarge
        source: Any = WholeStream(self.environ["wsgi.input"], limit, length)
        return cast(IO[bytes], source)


def discard_the_rest() -> None:
    """Read what a refused request still sends, for a while.

    A client that is still sending when the connection is closed may never see the answer.
    """
    if not request.environ.get("wsgi.input_terminated"):
        return  # of a server that does not end the body, the read would never return
    source = request.environ["wsgi.input"]
    deadline = time.monotonic() + DISCARD_SECONDS
    try:
        while source.read(PIECE_BYTES) and time.monotonic() < deadline:
            pass
    except (OSError, ValueError):
        # It went away itself, or was no HTTP any more.
        return
