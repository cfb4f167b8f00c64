"""The API process: how it starts, serves and stops."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from flask import request

from api.app import create_app
from shared.accounts import create_key, create_user
from shared.broker import Broker
from shared.database import make_engine, make_sessions
from shared.queue import Queue
from tests.api.conftest import settings_for
from tests.api.harness import ENGLISH, ApiHarness

LIMIT_BYTES = 1_000_000
START_SECONDS = 30
STOP_SECONDS = 5


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """A process does not depend on the database."""
    return sqlite_url


@pytest.fixture
def environment(settings_env: dict[str, str]) -> dict[str, str]:
    return {
        **settings_env,
        "QUIRE_MAX_CORPUS_BYTES": str(LIMIT_BYTES),
        "QUIRE_API_THREADS": "8",
        "QUIRE_WAIT_SLOTS": "4",
    }


@contextmanager
def process(environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "api", *options]
    started = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with started:
        try:
            yield started
        finally:
            started.kill() if started.poll() is None else None


def address(server: subprocess.Popen[str]) -> str:
    """Return the URL that the server prints."""
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("Quire's API listens on http://127.0.0.1:"), line
    return line.split()[-1]


def key_for(database_url: str, name: str) -> str:
    engine = make_engine(database_url)
    with make_sessions(engine).begin() as session:
        key = create_key(session, create_user(session, name)).key
    engine.dispose()
    return key


def test_the_server_handles_concurrent_requests_and_prints_its_url(
    environment: dict[str, str], database_url: str
) -> None:
    key = key_for(database_url, "ann")
    with process(environment, "--port", "0", "--threads", "8") as server:
        url = address(server)
        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
            assert client.get("/health/ready").json()["status"] == "ok"

            def upload(number: int) -> int:
                content = f"{number} {ENGLISH}".encode()
                parts = (content[i : i + 1000] for i in range(0, len(content), 1000))
                body = parts if number % 2 else content
                kind = {"Content-Type": "text/plain"}
                return client.post("/v1/corpora", content=body, headers=kind).status_code

            with ThreadPoolExecutor(8) as threads:
                assert list(threads.map(upload, range(16))) == [201] * 16
            assert len(client.get("/v1/corpora").json()["items"]) == 16
            whole = client.get("/v1/corpora").json()["items"][0]
            text = client.get(f"/v1/corpora/{whole['id']}/text").text
            assert text.endswith(ENGLISH)
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0
        assert server.stderr is not None
        log = server.stderr.read()
    assert '"event": "request"' in log
    assert key.rpartition("_")[2] not in log


@pytest.mark.parametrize(("one_core", "cores"), [("true", 1), ("false", None)])
def test_the_server_runs_on_one_core_by_default(
    environment: dict[str, str], database_url: str, one_core: str, cores: int | None
) -> None:
    key_for(database_url, "ann")
    environment["QUIRE_API_ONE_CORE"] = one_core
    with process(environment, "--port", "0") as server:
        address(server)
        allowed, kept = os.sched_getaffinity(0), os.sched_getaffinity(server.pid)
        assert kept <= allowed
        assert len(kept) == (cores or len(allowed))
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0
        assert server.stderr is not None
        told = f'"core": {max(allowed)}' in server.stderr.read()
    assert told == (cores == 1)


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield a body without a Content-Length, which is sent in chunks."""
    yield from (data[start : start + 10_000] for start in range(0, len(data), 10_000))


def in_a_form(data: bytes) -> bytes:
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return head + data + b"\r\n--XX--\r\n"


def test_an_incomplete_body_is_refused(environment: dict[str, str], database_url: str) -> None:
    key = key_for(database_url, "ann")
    just, more = b"x" * LIMIT_BYTES, b"x" * (LIMIT_BYTES + 1)
    much = b"x" * (4 * LIMIT_BYTES)
    raw = {"Content-Type": "text/plain"}
    form = {"Content-Type": "multipart/form-data; boundary=XX"}
    with process(environment, "--port", "0") as server:
        url = address(server)
        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
            for content, kind, status in (
                (just, raw, 201),
                (pieces(just), raw, 201),
                (pieces(in_a_form(just)), form, 201),
                (more, raw, 413),
                (pieces(more), raw, 413),
                (much, raw, 413),
                (pieces(much), raw, 413),
                (in_a_form(much), form, 413),
                (pieces(in_a_form(more)), form, 413),
                (pieces(in_a_form(much)), form, 413),
            ):
                answer = client.post("/v1/corpora", content=content, headers=kind)
                assert answer.status_code == status, answer.text
                if status == 413:
                    assert f"{LIMIT_BYTES:,}" in answer.json()["detail"]
                else:
                    assert answer.json()["bytes"] == LIMIT_BYTES
                assert client.get("/v1/me").json()["name"] == "ann"
            host, port = url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST /v1/corpora HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                head += "Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\nonly this"
                connection.sendall(head.encode())
                connection.shutdown(socket.SHUT_WR)
                assert b" 400 " in connection.recv(100)
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST /v1/corpora HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                head += "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                connection.sendall(head.encode() + b"5\r\nonly \r\n")
                connection.shutdown(socket.SHUT_WR)
                assert b" 400 " in connection.recv(100)
            assert len(client.get("/v1/corpora").json()["items"]) == 3
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0


def test_waiting_requests_are_answered_on_sigterm(
    environment: dict[str, str], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = settings_for(database_url, redis_url, tmp_path)
    engine = make_engine(database_url)
    harness = ApiHarness(
        create_app(settings, engine, Broker(redis_url)), engine, Queue(engine, settings)
    )
    ann = harness.person("ann")
    body = {"model": harness.model(ann)["id"]}
    engine.dispose()
    with process(environment, "--port", "0") as server:
        url = address(server)
        headers = {"Authorization": f"Bearer {ann.key}", "Prefer": "wait=20"}

        def wait() -> httpx2.Response:
            return httpx2.post(
                f"{url}/v1/generate", json=body, headers=headers, trust_env=False, timeout=20
            )

        with ThreadPoolExecutor(2) as threads:
            futures = [threads.submit(wait) for _ in range(2)]
            deadline = time.monotonic() + 10
            while len(ann.items("/v1/jobs?kind=generate")) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            server.send_signal(signal.SIGTERM)
            began = time.monotonic()
            answers = [future.result() for future in futures]
            assert [answer.status_code for answer in answers] == [202, 202]
            assert server.wait(STOP_SECONDS) == 0
            assert time.monotonic() - began < STOP_SECONDS
    engine.dispose()


def test_a_client_that_hangs_up_frees_its_seat(
    environment: dict[str, str], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = settings_for(database_url, redis_url, tmp_path)
    engine = make_engine(database_url)
    harness = ApiHarness(
        create_app(settings, engine, Broker(redis_url)), engine, Queue(engine, settings)
    )
    ann = harness.person("ann")
    job = ann.post("/v1/generate", {"model": harness.model(ann)["id"]}).json["id"]
    engine.dispose()
    head = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {ann.key}\r\n\r\n"
    with process(environment | {"QUIRE_MAX_LISTENERS": "1"}, "--port", "0") as server:
        port = int(address(server).rpartition(":")[2])

        def follow() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(head.encode())
                return connection.recv(12)

        assert follow() == b"HTTP/1.1 200"
        deadline = time.monotonic() + 5 + STOP_SECONDS
        while follow() != b"HTTP/1.1 200":
            assert time.monotonic() < deadline, "the seat of who hung up is still taken"
            time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0


def test_several_processes_accept_from_one_socket(
    environment: dict[str, str], database_url: str
) -> None:
    key = key_for(database_url, "ann")
    with process(environment | {"QUIRE_API_PROCESSES": "2"}, "--port", "0") as server:
        url = address(server)
        headers = {"Authorization": f"Bearer {key}"}

        def me() -> int:
            return httpx2.get(
                f"{url}/v1/me", headers=headers, trust_env=False, timeout=START_SECONDS
            ).status_code

        assert me() == 200
        first, second = psutil.Process(server.pid).children()
        first.kill()
        # The other one answers, and the supervisor starts a new one beside it.
        assert [me() for _ in range(5)] == [200] * 5
        deadline = time.monotonic() + START_SECONDS
        while len(psutil.Process(server.pid).children()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS + 10) == 0
        assert not second.is_running()


@pytest.mark.parametrize(("trusted", "ip"), [("127.0.0.0/8", "203.0.113.7"), ("10.0.0.1", None)])
def test_forwarded_addresses_are_believed_from_trusted_proxies_alone(
    harness: ApiHarness, trusted: str, ip: str | None
) -> None:
    settings = harness.queue.settings.model_copy(update={"trusted_proxies": trusted})
    app = create_app(settings, harness.engine, Broker(settings.broker))
    seen = []
    app.before_request(lambda: seen.append((request.remote_addr, request.scheme)))
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert app.test_client().get("/health/live", headers=headers).status_code == 200
    assert seen == [(ip, "https") if ip else ("127.0.0.1", "http")]
