"""The load client of the serving benchmarks counts good answers only, with wrk and without."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.support import http_load
from benchmarks.support.http_load import Target, closed_loop

BODIES = ('{"a": "]]"}', '{"b": [[1]]}')
GOOD = b'{"texts": [{"finish_reason": "length"}, {"finish_reason": "stop"}]}'


class Handler(BaseHTTPRequestHandler):
    """Answers what the path asks for, and notes what it was sent."""

    protocol_version = "HTTP/1.1"
    seen: set[tuple[str, str, str]]

    def do_POST(self) -> None:
        """Answer a request."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).seen.add((body, self.headers["Prefer"], self.headers["Authorization"]))
        status, answer = (503, b"{}") if self.path == "/refused" else (200, GOOD)
        if self.path == "/empty":
            answer = b'{"texts": []}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class QuietServer(ThreadingHTTPServer):
    """A server whose clients may hang up in the middle."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Handler.seen = set()
    with QuietServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


@pytest.fixture(params=["wrk", "own"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "own":
        monkeypatch.setattr(http_load.shutil, "which", lambda _name: None)
    elif shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: the client of our own is measured with")
    # Here the server shares the processor and the interpreter with the client.
    monkeypatch.setattr(http_load, "MOST_CLIENT_CPU", 10.0)


def target(port: int, path: str) -> Target:
    return Target(port, "POST", path, "key", BODIES, "wait=3", '"finish_reason":', texts=2)


@pytest.mark.usefixtures("client")
def test_good_answers_are_counted(port: int) -> None:
    load = closed_loop(target(port, "/good"), 4, 1.0)
    assert load.per_second > 0
    assert 0 < load.p50 <= load.p99
    assert Handler.seen == {(body, "wait=3", "Bearer key") for body in BODIES}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("path", ["/refused", "/empty"])
def test_a_bad_answer_fails_the_measurement(port: int, path: str) -> None:
    with pytest.raises(RuntimeError, match="bad answer"):
        closed_loop(target(port, path), 2, 1.0)


def test_a_client_that_is_the_bottleneck_is_said(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_load, "MOST_CLIENT_CPU", 0.0)
    with pytest.raises(RuntimeError, match="bottleneck"):
        closed_loop(target(port, "/good"), 2, 1.0)
