"""Clients that harm a server on loopback: ``python -m tests.attacks.attackers NAME PORT COUNT``.

Each holds its connections until it is killed. They run in a process of their own, so that the
tests that look at the server meanwhile don't wait for them.
"""

import contextlib
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable

UNFINISHED_HEAD = "GET /health/live HTTP/1.1\r\nHost: x\r\n"
CLOSING_REQUEST = "GET /health/live HTTP/1.0\r\n\r\n"
JSON_HEAD = "Host: x\r\nContent-Type: application/json\r\n"
#: The longest that an attacker lives, should nobody kill it.
MOST_SECONDS = 60.0


def connect(port: int, data: str, receive_bytes: int | None = None) -> socket.socket:
    """A connection on which something was sent."""
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(8)
    sock.connect(("127.0.0.1", port))
    sock.sendall(data.encode())
    return sock


def linger(port: int, count: int, _key: str) -> None:
    """Read an answer to its end, and do not close."""

    def one() -> None:
        while True:
            with (
                contextlib.suppress(OSError),
                connect(port, "GET /health/live HTTP/1.0\r\n\r\n") as s,
            ):
                while s.recv(4096):
                    pass
                time.sleep(2.2)

    for _ in range(count):
        threading.Thread(target=one, daemon=True).start()


def hold(
    head: Callable[[str], str],
    drip: str = "",
    every_seconds: float = 1.0,
    receive_bytes: int = 4096,
) -> Callable[[int, int, str], None]:
    """Open connections, send something on each, and perhaps a little more now and then."""

    def attack(port: int, count: int, key: str) -> None:
        held = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                held.append(connect(port, head(key), receive_bytes))
        print(f"opened {len(held)}", flush=True)
        while drip:
            time.sleep(every_seconds)
            for sock in held:
                with contextlib.suppress(OSError):
                    sock.sendall(drip.encode())
        kept.extend(held)

    return attack


#: Sockets that an attack leaves open.
kept: list[socket.socket] = []


def _request(line: str, headers: str = "", body: str = "") -> Callable[[str], str]:
    return lambda key: f"{line} HTTP/1.1\r\n{headers.format(key=key)}\r\n{body}"


KEY = "Host: x\r\nAuthorization: Bearer {key}\r\n"
LENGTH = JSON_HEAD + "Content-Length: 1000\r\n"
CHUNKED = JSON_HEAD + "Transfer-Encoding: chunked\r\n"
DOWNLOAD, EVENTS, WAIT = (
    os.environ.get(name, "") for name in ("ATTACK_DOWNLOAD", "ATTACK_EVENTS", "ATTACK_WAIT")
)
WAITING = KEY + "Content-Type: application/json\r\nPrefer: wait=30\r\n"


def _waiting_request(key: str) -> str:
    head = WAITING.format(key=key) + f"Content-Length: {len(WAIT)}\r\n"
    return f"POST /v1/generate HTTP/1.1\r\n{head}\r\n{WAIT}"


ATTACKS: dict[str, Callable[[int, int, str], None]] = {
    "linger": linger,
    "idle": hold(lambda _: ""),
    "slow_head": hold(lambda _: UNFINISHED_HEAD, "X-a: b\r\n", 5.0),
    "body_without_key": hold(_request("POST /v1/train", LENGTH, "{")),
    "body_to_nowhere": hold(_request("POST /nothing", LENGTH, "{")),
    "dripping_body": hold(_request("POST /v1/train", LENGTH, "{"), "a"),
    "body_with_key": hold(_request("POST /v1/train", KEY + "Content-Length: 1000\r\n", "{"), "a"),
    "dripping_chunks": hold(_request("POST /v1/train", CHUNKED, "1\r\n{\r\n"), "1\r\na\r\n"),
    "unread_downloads": hold(_request(f"GET {DOWNLOAD}", KEY)),
    "event_streams": hold(_request(f"GET {EVENTS}", KEY)),
    "waits": hold(_waiting_request),
}


def main() -> None:
    """Attack until killed."""
    name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threading.Timer(MOST_SECONDS, os._exit, (0,)).start()
    ATTACKS[name](port, count, os.environ["ATTACK_KEY"])
    print("holding", flush=True)
    time.sleep(MOST_SECONDS)


if __name__ == "__main__":
    main()
