"""Who is slow, silent or greedy loses a connection, and nobody else waits for it."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.api.front.conftest import KEY, LIMITS, Served, everything

#: What a loaded machine may add to a deadline.
MARGIN_SECONDS = 4.0
UNFINISHED = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}Content-Length: 100000\r\n\r\nx"


@contextlib.contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """The block takes no longer than a deadline, and what a loaded machine adds."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + MARGIN_SECONDS


def answers(served: Served) -> bool:
    return served.ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"0 bytes")


@pytest.mark.parametrize(
    ("data", "seconds"),
    [("GET / HTTP/1.1\r\nHost: x\r\n", LIMITS.head_seconds), (UNFINISHED, 3.0)],
    ids=["head", "body"],
)
def test_a_request_that_never_ends_is_told_so(served: Served, data: str, seconds: float) -> None:
    with served.connect(data) as sock, ends_within(seconds):
        assert everything(sock).startswith(b"HTTP/1.1 408 ")
    assert served.application.started == []


def test_a_dripping_body_is_too_slow(served: Served) -> None:
    with served.connect(UNFINISHED) as sock, ends_within(LIMITS.body_grace_seconds + 1):
        sock.settimeout(0.1)
        for _ in range(100):
            try:
                sock.sendall(b"x")
                assert sock.recv(100).startswith(b"HTTP/1.1 408 ")
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it may drip for ever")


def test_an_idle_connection_is_closed_without_a_word(served: Served) -> None:
    with served.connect() as sock, ends_within(LIMITS.idle_seconds):
        assert everything(sock) == b""


def test_an_answer_that_nobody_reads_is_cut_off(served: Served) -> None:
    head = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
    with served.connect(head, receive_bytes=4096):
        assert served.application.gone.wait(3 * LIMITS.stall_seconds + MARGIN_SECONDS)


def test_an_answer_that_is_read_goes_on(served: Served) -> None:
    with served.connect("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        until = time.monotonic() + 2.5 * LIMITS.stall_seconds
        while time.monotonic() < until:
            assert sock.recv(65536)
            time.sleep(0.01)
        assert not served.application.gone.is_set()


def test_a_stream_ends_when_its_reader_hangs_up(served: Served) -> None:
    sock = served.connect("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert sock.recv(10)
    sock.close()
    assert served.application.gone.wait(5)


@pytest.mark.parametrize(
    "data", ["", "GET / HTTP/1.1\r\nHost: x\r\n", UNFINISHED], ids=["idle", "head", "body"]
)
def test_many_who_are_slow_delay_nobody(served: Served, data: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10 * LIMITS.max_connections):
            with contextlib.suppress(OSError):
                stack.enter_context(served.connect(data))
        for _ in range(10):
            with ends_within(0):
                assert answers(served)


def test_over_the_cap_the_one_longest_without_a_request_goes(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        working = stack.enter_context(served.connect("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"))
        while "/wait" not in served.application.started:
            time.sleep(0.01)
        oldest = stack.enter_context(served.connect())
        others = [stack.enter_context(served.connect()) for _ in range(LIMITS.max_connections - 2)]
        newcomer = stack.enter_context(served.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert b"0 bytes" in newcomer.recv(1000)
        assert oldest.recv(1) == b""
        assert is_open(others[-1])
        served.application.release.set()
        assert b"0 bytes" in working.recv(1000)


def test_where_all_connections_work_a_newcomer_is_told(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(LIMITS.max_connections):
            stack.enter_context(served.connect("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"))
        time.sleep(0.5)
        refused = served.ask("")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in refused


def is_open(sock: socket.socket) -> bool:
    sock.settimeout(0.05)
    try:
        return sock.recv(1) != b""
    except TimeoutError:
        return True
