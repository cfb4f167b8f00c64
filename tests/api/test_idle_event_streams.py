"""Five hundred idle event streams next to ordinary requests."""

import json
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from api.app import create_app
from shared.broker import Broker
from shared.database import make_engine
from shared.event_publisher import EventPublisher
from shared.queue import Queue
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness
from tests.api.test_server import STOP_SECONDS, address, environment, process

LISTENERS = 500
REQUESTS = 50
MOST_BYTES = 150 * 1024**2
PATIENCE_SECONDS = 60

__all__ = ["environment"]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Threads and memory do not depend on the database."""
    return sqlite_url


@pytest.mark.slow
def test_idle_streams_cost_little_and_delay_nobody(
    environment: dict[str, str], database_url: str, redis_url: str, tmp_path: object
) -> None:
    settings = settings_for(database_url, redis_url, tmp_path)  # type: ignore[arg-type]
    engine = make_engine(database_url)
    app = create_app(settings, engine, Broker(redis_url))
    harness = ApiHarness(app, engine, Queue(engine, settings))
    ann = harness.person("ann")
    model = harness.model(ann)
    job = ann.post("/v1/generate", {"model": model["id"]}).json
    options = {
        **environment,
        "QUIRE_API_THREADS": "4",
        "QUIRE_MAX_LISTENERS": str(LISTENERS),
        # Nobody reads its log while it runs.
        "QUIRE_LOG_LEVEL": "warning",
    }
    with process(options, "--port", "0") as server, ExitStack() as stack:
        url = address(server)
        client = stack.enter_context(
            httpx2.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {ann.key}"},
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            )
        )
        path = f"/v1/jobs/{job['id']}/events"
        assert client.get("/v1/jobs").status_code == 200
        job_path = f"/v1/jobs/{job['id']}"
        alone = _median_seconds(client, job_path)
        memory = [_memory(server.pid)]
        sockets = [stack.enter_context(_listening(url, path, ann.key)) for _ in range(LISTENERS)]
        assert all(b"event: state" in got for got in _read_until(sockets, b"event: state"))
        memory.append(_memory(server.pid))
        assert memory[1] - memory[0] < MOST_BYTES
        refused = client.get(path)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        # More than the places for requests, one after the other: no listener has one. The bound
        # is no promise of a speed: who waits for a listener waits for seconds.
        assert _median_seconds(client, job_path) < 5 * alone + 0.1
        harness.write(job, ["the end"])
        EventPublisher(redis_url).publish(job["id"], 1, "state")
        for got in _read_until(sockets, b'"status": "succeeded"'):
            events = [json.loads(line[6:]) for line in got.split(b"\n") if line[:6] == b"data: "]
            assert events[-2]["text"] == "the end"
        server.send_signal(signal.SIGTERM)
        assert server.wait(2 * STOP_SECONDS) == 0
    engine.dispose()


def _median_seconds(client: httpx2.Client, path: str) -> float:
    """Return the median time of sequential requests."""
    seconds = []
    for _ in range(REQUESTS):
        began = time.monotonic()
        assert client.get(path).status_code == 200
        seconds.append(time.monotonic() - began)
    return median(seconds)


def _memory(pid: int) -> int:
    """Return the private bytes of a process and its children."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(each.memory_full_info().uss for each in family)


@contextmanager
def _listening(url: str, path: str, key: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_SECONDS) as one:
        head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n\r\n"
        one.sendall(head.encode())
        yield one


def _read_until(sockets: list[socket.socket], wanted: bytes) -> list[bytes]:
    """Read until every socket has received these bytes; return what each received."""
    got = dict.fromkeys(sockets, b"")
    deadline = time.monotonic() + PATIENCE_SECONDS
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            left = [got[each.fileobj] for each in selector.get_map().values()]  # type: ignore[index]
            assert time.monotonic() < deadline, f"{len(left)} have not read it: {left[0]!r}"
            for ready, _ in selector.select(timeout=1):
                one = ready.fileobj
                assert isinstance(one, socket.socket)
                piece = one.recv(65536)
                got[one] += piece
                if not piece or wanted in got[one]:
                    selector.unregister(one)
    return [got[one] for one in sockets]
