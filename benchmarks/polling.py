"""Polling: `GET /v1/jobs/{id}` compared with a route that does nothing."""

import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.concurrent_texts import Load, quantiles
from benchmarks.support.harness import Options, Row, main, row
from benchmarks.support.stack import Stack, running, train, until
from shared.settings import Settings

SECONDS, QUICK_SECONDS, ROUNDS = 5.0, 2.0, 5
CONNECTIONS, GET_P99_MS = 32, 25.0
BARE_APP = """
from flask import Flask
app = Flask("bare")
@app.get("/")
def bare(): return {"status": "ok"}
"""


def measure(options: Options) -> list[Row]:
    """Measure one row."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with running() as quire:
        return [_row(quire, train(quire.client), seconds)]


def _row(quire: Stack, model: str, seconds: float) -> Row:
    job = quire.client.call("POST", "/v1/generate", {"model": model, "length": 200})
    until(
        lambda: quire.client.call("GET", f"/v1/jobs/{job['id']}")["status"] == "succeeded", "a text"
    )
    with _bare_flask(quire) as port:
        pairs = [
            (
                _requests(port, "/", "", seconds),
                _requests(quire.port, f"/v1/jobs/{job['id']}", quire.client.key, seconds),
            )
            for _ in range(ROUNDS)
        ]
    _, longest = quantiles([one for _, mine in pairs for one in mine.seconds])
    conditions = (
        f"{CONNECTIONS} connections that poll back to back, SQLite; p99 {1e3 * longest:.1f} ms "
        f"(at most {GET_P99_MS:g}); peer: a Flask route that returns a constant, in gunicorn "
        "with the same threads"
    )
    return row(
        "serve/get_job",
        [mine.per_second for _, mine in pairs],
        [peer.per_second for peer, _ in pairs],
        "requests/s",
        0.5,
        conditions,
        more_is_better=True,
        also=1e3 * longest <= GET_P99_MS,
    )


@contextmanager
def _bare_flask(quire: Stack) -> Iterator[int]:
    Path(quire.directory, "bare.py").write_text(BARE_APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    threads = str(Settings.model_fields["api_threads"].default)
    options = ("-k", "gthread", "-w", "1", "--threads", threads, "-b", f"127.0.0.1:{port}")
    argv = (sys.executable, "-m", "gunicorn", *options, "--no-control-socket", "bare:app")
    process = subprocess.Popen(
        argv, cwd=quire.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _listens(port), "the bare route")
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _requests(port: int, path: str, key: str, seconds: float) -> Load:
    """Send GETs on persistent connections, each as soon as the previous response is complete."""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    load, began = Load(seconds), time.perf_counter()
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for _ in range(CONNECTIONS):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(head)
            selector.register(one, selectors.EVENT_READ, [time.perf_counter(), b""])
        while time.perf_counter() - began < seconds:
            for ready, _ in selector.select(1.0):
                peer, state = ready.fileobj, ready.data
                assert isinstance(peer, socket.socket)
                state[1] += peer.recv(65536)
                if not _is_whole(state[1]):
                    continue
                if not state[1].startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(state[1][:200])
                now = time.perf_counter()
                load.seconds.append(now - state[0])
                state[:] = [now, b""]
                peer.sendall(head)
    return load


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return len(body) >= int(lengths[0].partition(b":")[2])


if __name__ == "__main__":
    main("Serving: a job that is polled", measure)
