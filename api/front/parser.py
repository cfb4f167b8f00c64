"""A request while it arrives: waitress's parser, with the bounds that it lacks."""

from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest

#: The size of a chunk and its extensions; waitress reads such a line without an end.
MAX_CHUNK_HEAD_BYTES = 1024
MAX_TRAILER_BYTES = 8 * 1024
#: Chunks so small that a body is mostly their sizes cost the event loop more than they bring.
MAX_CHUNKED_OVERHEAD = 2
FREE_OVERHEAD_BYTES = 64 * 1024


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress is not typed
    """One request.

    Attributes:
        body_limit: The most bytes of its body; None until its head is there.
        checking: A thread is looking at its head, and no more of it is read.
        checked: Its head was looked at.
        cut_off: It reaches the application without (all of) its body.
    """

    #: Of a request whose head is no HTTP; waitress logs it.
    path = ""

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.body_limit: int | None = None
        self.checking = False
        self.checked = False
        self.cut_off = False

    @property
    def awaits_body(self) -> bool:
        """Whether its head is there and its body is not."""
        return bool(self.headers_finished and not self.completed)

    @property
    def is_announced_too_large(self) -> bool:
        """Whether the head announces more bytes than allowed."""
        return self.body_limit is not None and self.content_length > self.body_limit

    def received(self, data: bytes) -> int:
        """Take bytes; see `HTTPRequestParser.received`."""
        consumed: int = super().received(self._piece_of(data))
        if self.body_limit is not None and not self.error:
            self._check_bounds(self.body_limit)
        return consumed

    def _piece_of(self, data: bytes) -> bytes:
        """As much of the data as can be bounded; what stands between chunks comes in pieces."""
        body = self.body_rcv
        if not isinstance(body, ChunkedReceiver):
            return data
        return data[: body.chunk_remainder or MAX_CHUNK_HEAD_BYTES]

    def cut(self) -> None:
        """Let the application have the request as it is, and close the connection after it."""
        self.cut_off = self.completed = self.connection_close = True
        self.headers["CONNECTION"] = "close"
        if isinstance(self.body_rcv, ChunkedReceiver):
            # A chunked body announces no length: without one, what came would count as all.
            self.headers["CONTENT_LENGTH"] = str(len(self.body_rcv) + 1)

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head.

        Raises:
            ParsingError: It is no HTTP, or two ways of ending the body contradict each other.
        """
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("the address or Content-Length is not valid") from error
        # waitress takes it away where it follows it, which is in HTTP/1.1 alone.
        followed = "TRANSFER_ENCODING" not in self.headers
        if not followed or (self.chunked and "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding needs HTTP/1.1, and no Content-Length beside it")

    def _check_bounds(self, limit: int) -> None:
        body = self.body_rcv
        if not isinstance(body, ChunkedReceiver):
            return
        if (
            len(body.control_line) > MAX_CHUNK_HEAD_BYTES
            or len(body.trailer) > MAX_TRAILER_BYTES
            or self.body_bytes_received
            > MAX_CHUNKED_OVERHEAD * (len(body) + len(body.trailer)) + FREE_OVERHEAD_BYTES
        ):
            self._refuse(BadRequest("send larger chunks, with short extensions and trailers"))
        elif len(body) > limit:
            # The application refuses it, with its own bound for this kind of body.
            self.cut()

    def _refuse(self, error: Any) -> None:
        self.error = error
        self.completed = True
