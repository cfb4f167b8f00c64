"""A front in this process, with a small application and short deadlines."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from api.front import FairSlots, Front, FrontLimits

LIMITS = FrontLimits(
    head_seconds=1.0,
    body_seconds=5.0,
    body_grace_seconds=1.0,
    min_body_rate=1000,
    idle_seconds=2.0,
    stall_seconds=1.0,
    linger_seconds=1.0,
    max_connections=20,
    max_head_bytes=4096,
)
BODY_LIMIT = 1_000_000
KEY = "Authorization: Bearer right\r\n"


@dataclass
class Application:
    """Echoes how many bytes it got; what a path does else, it says.

    Attributes:
        started: Paths of the requests that got a thread.
        release: Lets `/wait` answer.
    """

    started: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.started.append(path)
        if environ["REQUEST_METHOD"] == "POST" and "right" not in environ.get(
            "HTTP_AUTHORIZATION", ""
        ):
            start_response("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b"a key is needed"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        if path == "/wait":
            self.release.wait(10)
        if path == "/stream":
            return self._stream(environ)
        size = len(environ["wsgi.input"].read())
        if path == "/length":
            return [b"%d bytes of %s" % (size, environ["CONTENT_LENGTH"].encode())]
        return [b"%d bytes" % size]

    def _stream(self, environ: dict[str, Any]) -> Iterator[bytes]:
        try:
            while not environ["waitress.client_disconnected"]():
                yield b"x" * 65536
        finally:
            self.gone.set()


class Policy:
    """Admits bodies that come with the right key."""

    def body_limit(self, _method: str, _path: str) -> int:
        return BODY_LIMIT

    def admits(self, environ: dict[str, Any]) -> bool:
        return "right" in environ.get("HTTP_AUTHORIZATION", "")

    def refused(self, _status: int, _address: str) -> None:
        pass


@dataclass
class Served:
    """A front that serves.

    Attributes:
        port: Of loopback.
        application: Behind it.
        stop: Drains it, and waits for its end.
        pending: How many connections it lists as pending.
    """

    port: int
    application: Application
    stop: Callable[[], None]
    pending: Callable[[], int]

    def connect(self, data: bytes | str = b"", receive_bytes: int | None = None) -> socket.socket:
        """A connection on which something was sent."""
        sock = socket.socket()
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(10)
        try:
            sock.connect(("127.0.0.1", self.port))
            sock.sendall(data.encode() if isinstance(data, str) else data)
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, data: bytes | str) -> bytes:
        """All that comes back until the front closes."""
        with self.connect(data) as sock:
            return everything(sock)


def everything(sock: socket.socket) -> bytes:
    """What comes until the end of the connection."""
    received = b""
    while piece := sock.recv(65536):
        received += piece
    return received


@pytest.fixture
def limits() -> FrontLimits:
    """To be overridden by a module."""
    return LIMITS


@pytest.fixture
def served(limits: FrontLimits) -> Iterator[Served]:
    """A front of the test's own."""
    application, stopping = Application(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    front = Front(application, listener, Policy(), limits, FairSlots(8))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=front.serve, args=(stopping, 5.0))
    thread.start()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            front.pull_trigger()
        thread.join(10)
        assert not thread.is_alive()

    yield Served(port, application, stop, lambda: len(front._pending))
    application.release.set()
    stop()
