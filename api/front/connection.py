"""One connection: its deadlines, and when its request gets a thread."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from api.front.errors import ProblemTask, whole_response
from api.front.parser import RequestParser
from api.front.policy import EventLoop
from api.front.senders import name_sender
from api.front.slots import Slot
from api.front.socket_poll import PolledChannel
from api.front.tasks import ApplicationTask, HeadCheck


class Connection(PolledChannel):
    """A connection of the front.

    It is `pending` while it has no whole request: of these the one that waited longest is closed
    when there are too many connections.
    """

    parser_class = RequestParser
    task_class = ApplicationTask
    error_task_class = ProblemTask
    server: EventLoop
    slot: Slot
    requests: list[RequestParser]
    request: RequestParser | None

    def __init__(self, server: EventLoop, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        self._limits = server.limits
        #: When the first byte of the request that arrives came.
        self._began = now
        self._idle_since = now
        self._sent_bytes = 0
        #: When the reader was last seen to keep up, and how much it had read by then.
        self._window: tuple[float, int] | None = None
        #: Until when the rest of a refused request is read and dropped.
        self._linger_until: float | None = None
        self.on_close: list[Callable[[], object]] = []
        #: Who sent the last whole request; an address until there is one.
        self.last_sender = str(args[0][0]) if args and args[0] else ""
        #: The peer sends no more, and may still read.
        self._has_ended = False
        #: The request that runs is refused, perhaps while its body still comes.
        self._is_refusing = False
        self._corked: bytearray | None = None
        super().__init__(server, sock, *args, **kwargs)
        # Sending, while it is held, may find the peer gone and close, which takes it again.
        self.requests_lock = threading.RLock()
        server.is_pending(self)

    # On the event loop.

    def readable(self) -> bool:
        """Whether more is wanted from the peer."""
        if self._linger_until is not None:
            return True
        if self._has_ended or (self.request is not None and self.request.checking):
            return False
        return bool(super().readable())

    def handle_read(self) -> None:
        """Read, or drop what a refused request still sends."""
        try:
            data = self.socket.recv(self.adj.recv_bytes)
        except BlockingIOError:
            return
        except OSError:
            self.handle_close()
            return
        if not data:
            self._input_ended()
        elif self._linger_until is None:
            self.last_activity = time.time()
            self.received(data)

    def _input_ended(self) -> None:
        """Answer a request that was cut off in its body; otherwise the peer is gone."""
        with self.requests_lock:
            request = self.request
            if self._linger_until is None and request is not None and request.awaits_body:
                self._has_ended = True
                if not request.checking:
                    request.cut()
                    self._start(request)
                return
        self.handle_close()

    def received(self, data: bytes) -> bool:
        """Take bytes of one or more requests, and start those that are whole."""
        with self.requests_lock:
            if self.will_close or self.close_when_flushed:
                return False
            while data:
                if self.request is None:
                    self.request = RequestParser(self.adj)
                    self._began = time.monotonic()
                consumed = self.request.received(data)
                data = data[consumed:]
                self._look_at_head(self.request)
                if self.request.completed:
                    self._start(self.request)
                    if self.request is None and self.requests and self.requests[-1].cut_off:
                        break
                elif not consumed:
                    break
            self._check_head_if_unfinished()
        return True

    def _look_at_head(self, request: RequestParser) -> None:
        if request.headers_finished and request.body_limit is None and not request.error:
            method = getattr(request, "command", "")
            request.body_limit = self.server.policy.body_limit(method, getattr(request, "path", ""))
            if request.is_announced_too_large:
                request.cut()

    def _start(self, request: RequestParser) -> None:
        self.request = None
        self.sent_continue = False
        if request.empty:
            return
        self.last_sender = self.sender_of(request)
        self.requests.append(request)
        if len(self.requests) == 1:
            self.server.is_busy(self)
            self.server.add_task(self)

    def _check_head_if_unfinished(self) -> None:
        request = self.request
        if request is not None and request.awaits_body and not request.checked:
            request.checked = request.checking = True
            self.server.add_task(HeadCheck(self, request))

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send, and count."""
        sent: int = super().send(data, do_close=do_close)
        self._sent_bytes += sent or 0
        return sent

    def _flush_some(self, do_close: bool = True) -> bool:
        # A thread may be sending at this moment.
        with self.outbuf_lock:
            return bool(super()._flush_some(do_close=do_close))

    def handle_write(self) -> None:
        """Flush. The rest of a refused request is read, or the peer might lose the answer."""
        if self.close_when_flushed and self._is_refusing and not self.will_close:
            self._flush_exception(self._flush_some)
            if not self.total_outbufs_len and not self.will_close:
                self._linger()
            if not self.will_close:
                return
        super().handle_write()

    def _linger(self) -> None:
        self.close_when_flushed = False
        if self._has_ended:
            self.will_close = True
            return
        self._linger_until = time.monotonic() + self._limits.linger_seconds
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.will_close = True

    def expire(self, now: float) -> None:
        """Close the connection if a deadline has passed. `now` is monotonic, in seconds."""
        if self._linger_until is not None:
            if now > self._linger_until:
                self.handle_close()
        elif self.total_outbufs_len:
            self._idle_since = now
            if self._has_stalled(now):
                self.server.count("stalled_readers")
                self.handle_close()
        elif self.requests:
            self._window = None
        elif self.request is not None:
            if self._is_late(self.request, now):
                self.server.count("late_requests")
                self.refuse(408, "send a request without long pauses")
        elif now - self._idle_since > self._limits.idle_seconds:
            self.handle_close()

    def refuse(self, status: int, detail: str) -> None:
        """Send an answer as far as the peer takes it at once, and close."""
        self.server.policy.refused(status, str(self.addr[0]))
        with contextlib.suppress(OSError):
            path = "" if self.request is None else str(self.request.path)
            self.socket.send(whole_response(status, detail, path))
        self.handle_close()

    def _has_stalled(self, now: float) -> bool:
        if self._window is None:
            self._window = (now, self._sent_bytes)
            return False
        since, sent = self._window
        if now - since <= self._limits.stall_seconds:
            return False
        self._window = (now, self._sent_bytes)
        return self._sent_bytes - sent < self._limits.min_read_rate * (now - since)

    def _is_late(self, request: RequestParser, now: float) -> bool:
        seconds = now - self._began
        if request.checking:
            return False
        if not request.headers_finished:
            return seconds > self._limits.head_seconds
        counted = seconds - self._limits.body_grace_seconds
        return seconds > self._limits.body_seconds or (
            counted > 0 and request.body_bytes_received < self._limits.min_body_rate * counted
        )

    def handle_close(self) -> None:
        """Close, and give back what was held."""
        super().handle_close()
        # Afterwards, or a thread that ends a request meanwhile would list it as pending again.
        self.server.is_gone(self)
        while self.on_close:
            self.on_close.pop()()
        # Sending closes with the lock of the output held, which threads take after this one.
        if self.requests_lock.acquire(blocking=False):
            try:
                if self.request is not None and not self.request.checking:
                    self.request.close()  # its buffer may be a file
            finally:
                self.requests_lock.release()

    # On threads.

    def begin_response(self) -> None:
        """Forget what belongs to the answer before."""
        self._window = None
        self.on_close.clear()

    @contextlib.contextmanager
    def corked(self) -> Iterator[None]:
        """Join what is written in the block into one piece."""
        self._corked = bytearray()
        try:
            yield
        finally:
            whole, self._corked = bytes(self._corked), None
            super().write_soon(whole)

    def write_soon(self, data: Any) -> int:
        """Send, or keep for the next send."""
        if self._corked is None or not isinstance(data, bytes):
            return int(super().write_soon(data))
        self._corked += data
        return len(data)

    @property
    def sender(self) -> str:
        """Whose request is next: a key, a session, or an address."""
        return self.sender_of(self.requests[0])

    def sender_of(self, request: RequestParser) -> str:
        """Whose a request is."""
        headers = request.headers
        return name_sender(headers.get("AUTHORIZATION"), headers.get("COOKIE"), str(self.addr[0]))

    def service(self) -> None:
        """Run the oldest request."""
        slot, request = self.slot, self.requests[0]
        self._is_refusing = request.cut_off or request.error is not None
        try:
            super().service()
        finally:
            slot.release()
        with self.requests_lock:
            self._idle_since = time.monotonic()
            if not self.requests:
                self.server.is_pending(self)

    def head_checked(self, request: RequestParser, admitted: bool) -> None:
        """Read on, or hand the request to the application as it is, to be refused."""
        with self.requests_lock:
            request.checking = False
            self._began = time.monotonic()  # the wait for a slot was ours
            is_closing = (
                self.will_close or self.close_when_flushed or self._linger_until is not None
            )
            if not self.connected or is_closing or self.request is not request:
                request.close()
                return
            if not admitted or self._has_ended:
                request.cut()
                self._start(request)
            elif request.expect_continue and not self.requests and not self.sent_continue:
                self.send_continue()
        self.server.changed(self)
