"""Whole requests get a thread and an answer; what is no HTTP gets a problem."""

import json
import socket
import threading
import time

import pytest

from api.front.threads import GrowingPool
from tests.api.front.conftest import BODY_LIMIT, KEY, Served, everything

CLOSE = "Connection: close\r\n"


def test_a_connection_answers_one_request_after_the_other(served: Served) -> None:
    get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    last = f"POST /b HTTP/1.1\r\nHost: x\r\n{KEY}{CLOSE}Content-Length: 3\r\n\r\nabc"
    received = served.ask(get + get + last)
    assert received.count(b"200 OK") == 3
    assert received.endswith(b"3 bytes")


def test_a_large_body_arrives_whole(served: Served) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}{CLOSE}Content-Length: {BODY_LIMIT}\r\n\r\n"
    assert served.ask(head.encode() + b"x" * BODY_LIMIT).endswith(b"%d bytes" % BODY_LIMIT)


def test_a_chunked_body_arrives_whole(served: Served) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}{CLOSE}Transfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x;name=value\r\n%b\r\n" % (n, b"x" * n) for n in (1, 2000, 30000))
    assert served.ask(head.encode() + chunks + b"0\r\n\r\n").endswith(b"32001 bytes")


def test_a_body_is_asked_for_once_its_head_was_checked(served: Served) -> None:
    expect = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with served.connect(f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}{CLOSE}{expect}") as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"hello")
        assert everything(sock).endswith(b"5 bytes")
    refused = served.ask(f"POST / HTTP/1.1\r\nHost: x\r\n{expect}")
    assert refused.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbroken header\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 4000 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 5000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_http_gets_a_problem(served: Served, data: bytes, status: int) -> None:
    head, _, body = served.ask(data).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]
    assert served.application.started == []


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"1;" + b"x" * 2000, 400),
        (b"1;" + b"x" * 3000 + b"\r\nx\r\n0\r\n\r\n", 400),
        (b"zz\r\n", 400),
        (b"1\r\nxx\r\n", 400),
        (b"0\r\nA: " + b"x" * 10_000, 400),
        (b"1\r\nx\r\n" * BODY_LIMIT, 400),
    ],
)
def test_bad_chunks_get_a_problem(served: Served, chunks: bytes, status: int) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n"
    received = served.ask(head.encode() + chunks)
    assert int(received.split()[1]) == status
    assert served.application.started == []


def test_a_chunked_body_that_grows_too_large_reaches_the_application_cut_off(
    served: Served,
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n"
    size = BODY_LIMIT + 1
    received = served.ask(head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in received


def test_a_body_that_ends_early_reaches_the_application_cut_off(served: Served) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}Content-Length: 1000\r\n\r\nabc"
    with served.connect(head) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock).endswith(b"3 bytes")


def test_a_chunked_body_that_ends_early_is_known_to_be_cut_off(served: Served) -> None:
    head = (
        f"POST /length HTTP/1.1\r\nHost: x\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    with served.connect(head) as sock:
        sock.shutdown(socket.SHUT_WR)
        # More bytes are announced than came.
        assert everything(sock).endswith(b"5 bytes of 6")


def test_a_closed_connection_is_pending_no_more(served: Served) -> None:
    for _ in range(50):
        served.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    deadline = time.monotonic() + 5
    while served.pending():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_refused_upload_gets_its_answer_while_it_still_sends(served: Served) -> None:
    with served.connect("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n") as sock:
        sent_at = time.monotonic()
        for _ in range(9):
            sock.sendall(b"x" * 100_000)
            time.sleep(0.02)
        assert everything(sock).startswith(b"HTTP/1.1 401 ")
        assert time.monotonic() - sent_at < 5


def test_a_body_that_is_announced_too_large_reaches_the_application_without_it(
    served: Served,
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{KEY}Content-Length: {BODY_LIMIT + 1}\r\n\r\n"
    assert served.ask(head).endswith(b"0 bytes")


def test_what_has_begun_is_finished_at_the_end(served: Served) -> None:
    idle = served.connect()
    with served.connect("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        while "/wait" not in served.application.started:
            time.sleep(0.01)
        stopper = threading.Thread(target=served.stop)
        stopper.start()
        assert idle.recv(1) == b""
        with pytest.raises(OSError, match="refused"):
            served.connect()
        served.application.release.set()
        assert b"0 bytes" in sock.recv(1000)
        stopper.join(10)
    idle.close()


def test_the_pool_starts_a_thread_for_each_task_that_stays() -> None:
    pool, stay, started = GrowingPool(), threading.Event(), threading.Semaphore(0)

    class Task:
        def service(self) -> None:
            started.release()
            stay.wait(10)

        def cancel(self) -> None:
            pass

    adders = [
        threading.Thread(target=lambda: [pool.add_task(Task()) for _ in range(8)]) for _ in range(8)
    ]
    for adder in adders:
        adder.start()
    try:
        assert all(started.acquire(timeout=10) for _ in range(64))
    finally:
        stay.set()
        for adder in adders:
            adder.join()
        pool.shutdown()
