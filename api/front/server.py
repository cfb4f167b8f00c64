"""The event loop: accepts, reads, writes, and closes those who take too long or too much."""

import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import structlog
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from api.front.connection import Connection
from api.front.limits import FrontLimits
from api.front.policy import Application, Environ, HeadPolicy, Task
from api.front.slots import FairSlots, Slot
from api.front.socket_poll import SocketPoll
from api.front.tasks import SLOT
from api.front.threads import GrowingPool

#: So often the deadlines are looked at.
MAINTENANCE_SECONDS = 1
LOOP_SECONDS = 1.0
DRAIN_LOOP_SECONDS = 0.1
#: Connections accepted in one turn of the loop: a flood of them must not take a turn each.
ACCEPTED_AT_ONCE = 64
RECEIVE_BYTES = 64 * 1024
#: A larger body is buffered in a file.
BODY_IN_MEMORY_BYTES = 512 * 1024
#: A streamed answer waits for its reader past this.
UNREAD_BYTES = 256 * 1024
BACKLOG = 2048
#: Counts of refused connections are logged so often at most.
REPORT_SECONDS = 60.0
#: How long a connection without a request is spared while somebody holds many.
NEWCOMER_SECONDS = 2.0
#: waitress's own bound on bodies; the policy's is smaller.
NO_BOUND = 2**62

log = structlog.get_logger("api.front")


class Front(TcpWSGIServer):  # type: ignore[misc]  # waitress is not typed
    """Serves a WSGI application on a listening socket.

    Args:
        application: Answers whole requests, on threads.
        listener: Bound, and not yet listening.
        policy: Tells from a head whether a body is worth reading.
        limits: Deadlines and bounds.
        slots: Bound the requests that are in the application at once.
        server_name: For `SERVER_NAME`.
    """

    channel_class = Connection

    def __init__(
        self,
        application: Application,
        listener: socket.socket,
        policy: HeadPolicy,
        limits: FrontLimits,
        slots: FairSlots,
        server_name: str = "quire",
    ) -> None:
        self.policy = policy
        self.limits = limits
        self.slots = slots
        #: Those without a whole request, and since when (monotonic), the oldest first.
        self._pending: dict[Connection, float] = {}
        self._pending_lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._reported_at = self._maintained_at = time.monotonic()
        channels: dict[int, Any] = {}
        self._poll = SocketPoll(channels)
        options = Adjustments(
            sockets=[listener],
            threads=1,
            backlog=BACKLOG,
            channel_request_lookahead=1,
            connection_limit=NO_BOUND,
            ident="quire",
            inbuf_overflow=BODY_IN_MEMORY_BYTES,
            log_socket_errors=False,
            max_request_body_size=NO_BOUND,
            max_request_header_size=limits.max_head_bytes,
            outbuf_high_watermark=UNREAD_BYTES,
            recv_bytes=RECEIVE_BYTES,
            server_name=server_name,
        )
        super().__init__(
            release_slot_after(application),
            map=channels,
            _sock=listener,
            dispatcher=GrowingPool(),
            adj=options,
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        )

    def add_task(self, task: Task) -> None:
        """Run a task on a thread once it is its sender's turn."""
        sender = task.sender

        def start() -> None:
            task.slot = Slot(self.slots, sender)
            self.task_dispatcher.add_task(task)

        self.slots.submit(sender, start)

    def serve(self, stopping: threading.Event, drain_seconds: float) -> None:
        """Serve until `stopping` is set, then finish what has begun.

        Args:
            stopping: Call `pull_trigger` after setting it, and the loop sees it at once.
            drain_seconds: How long requests that have begun may go on.
        """
        self._poll.look_at_all()
        while not stopping.is_set():
            self._turn(LOOP_SECONDS)
        self._drain(time.monotonic() + drain_seconds)

    def _drain(self, deadline: float) -> None:
        self.accepting = False
        self.del_channel()
        self.socket.close()
        while self._is_serving() and time.monotonic() < deadline:
            self._turn(DRAIN_LOOP_SECONDS)
        for connection in list(self.active_channels.values()):
            connection.handle_close()
        self.task_dispatcher.shutdown(timeout=1)
        self._poll.close()
        self.trigger.close()

    def _turn(self, seconds: float) -> None:
        self._poll.turn(seconds)
        now = time.monotonic()
        if now - self._maintained_at >= MAINTENANCE_SECONDS:
            self._maintained_at = now
            self.maintenance(now)
            self._poll.look_at_all()

    def readable(self) -> bool:
        """Whether connections are accepted."""
        return bool(self.accepting)

    def changed(self, connection: Connection) -> None:
        """Look at what a connection waits for now. Threads call it, too."""
        self._poll.changed(connection)

    def del_channel(self, map: Any = None) -> None:
        """Accept no more."""
        self.closing_soon(self)
        super().del_channel(map)

    def closing_soon(self, channel: Any) -> None:
        """Wait no more for a channel. Call it before its socket is closed, from any thread."""
        if channel._fileno is not None:
            self._poll.forget(channel._fileno)

    def _is_serving(self) -> bool:
        """Whether a request has begun and is not answered; idle connections are closed."""
        busy = False
        for connection in list(self.active_channels.values()):
            if connection.requests or connection.request or connection.total_outbufs_len:
                busy = True
            else:
                connection.handle_close()
        return busy

    def maintenance(self, now: float) -> None:
        """Close what is overdue. `now` is monotonic, in seconds."""
        for connection in list(self.active_channels.values()):
            connection.expire(now)
        if self._counts and now - self._reported_at >= REPORT_SECONDS:
            log.warning("connections_closed", **self._counts)
            self._counts.clear()
            self._reported_at = now

    def handle_accept(self) -> None:
        """Accept those who wait, and make room for them."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted: tuple[socket.socket, Any] | None = self.accept()
            except OSError:
                return
            if accepted is None:
                return
            sock, address = accepted
            self.set_socket_options(sock)
            self._make_room()
            connection = self.channel_class(self, sock, address, self.adj, map=self._map)
            if len(self.active_channels) > self.limits.max_connections:
                self.count("refused")
                connection.refuse(503, "all connections are in use: try again in a few seconds")

    def _make_room(self) -> None:
        """Close those that have waited longest without a whole request, or the greediest's."""
        while len(self.active_channels) >= self.limits.max_connections:
            with self._pending_lock:
                oldest, since = next(iter(self._pending.items()), (None, 0.0))
            # A newcomer is the oldest where all others have requests: it may send its own first.
            is_new = oldest is None or time.monotonic() - since < NEWCOMER_SECONDS
            closed = (self._greediest() if is_new else []) or ([oldest] if oldest else [])
            if not closed:
                return
            for connection in closed:
                self.count("evicted")
                connection.handle_close()

    def _greediest(self) -> list[Connection]:
        """Some connections of the sender with most requests; none if nobody has a large part."""
        senders: defaultdict[str, list[Connection]] = defaultdict(list)
        for connection in list(self.active_channels.values()):
            if connection not in self._pending:
                senders[connection.last_sender].append(connection)
        most = max(senders.values(), key=len, default=[])
        return most[:ACCEPTED_AT_ONCE] if len(most) >= self.limits.max_connections / 4 else []

    def count(self, what: str) -> None:
        """Count a connection that was closed; the log has a sum now and then."""
        self._counts[what] += 1

    # Who has no whole request. Threads call these, too.

    def is_pending(self, connection: Connection) -> None:
        """It waits for a request, from now on."""
        with self._pending_lock:
            self._pending.pop(connection, None)
            if connection.connected:
                self._pending[connection] = time.monotonic()

    def is_busy(self, connection: Connection) -> None:
        """It has a whole request."""
        with self._pending_lock:
            self._pending.pop(connection, None)

    def is_gone(self, connection: Connection) -> None:
        """It is closed."""
        self.is_busy(connection)


def release_slot_after(application: Application) -> Application:
    """Let the next request in once the application has answered, while the answer is sent."""

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        finally:
            environ[SLOT].release()

    return answer
