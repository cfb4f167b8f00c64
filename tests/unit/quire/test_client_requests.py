"""The client against a server that breaks: what is sent again, as what, and what is not."""

import asyncio
import json
import pickle
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from quire.client import ApiError, AsyncClient, Client, ServerError
from quire.client.login import login_of_environment
from quire.client.problems import error_of
from quire.client.replies import Problem
from quire.errors import InvalidInput, NotFound, NotLoggedIn, QuireError, ServerUnreachable

JOB = {"id": "1", "kind": "train", "status": "running", "created_at": "2026-01-02T03:04:05Z"}
CUT = "cut"
SECONDS = 20.0


@dataclass
class Broken:
    """A server whose answers a test gives, in turn: a status and a body, `CUT`, or an
    event to wait for.

    Attributes:
        requests: The method, path, Idempotency-Key and body of each request.
    """

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    requests: list[tuple[str, str, str | None, bytes]] = field(default_factory=list)


@pytest.fixture
def broken() -> Iterator[Broken]:
    state = Broken()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = self.headers["Idempotency-Key"]
            state.requests.append((self.command, self.path, key, body))
            answer = state.answers.pop(0) if state.answers else (200, JOB)
            if isinstance(answer, threading.Event):
                answer.wait(SECONDS)
                answer = CUT
            if answer == CUT:
                self.close_connection = True
                return
            status, reply = answer
            data = json.dumps(reply).encode() if isinstance(reply, dict) else reply
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for client in ("aio", "sync"):
        monkeypatch.setattr(f"quire.client.{client}.transport.RETRY_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("QUIRE_URL", "QUIRE_KEY", "QUIRE_API_KEY", "QUIRE_CA"):
        monkeypatch.delenv(name, raising=False)


def test_a_post_is_sent_again_with_the_key_that_was_made_for_it(broken: Broken) -> None:
    broken.answers = [CUT, (502, b"<h1>nginx</h1>"), (200, JOB)]
    with Client(broken.url, "key") as client:
        client.submit_training({"corpus": "c"})
        client.submit_training({"corpus": "c"})
    first, second, third, other = broken.requests
    assert first == second == third
    assert None not in (first[2], other[2])
    assert first[2] != other[2]


def test_the_asynchronous_client_does_the_same(broken: Broken) -> None:
    broken.answers = [CUT, (502, b"<h1>nginx</h1>"), (200, JOB)]

    async def submit() -> None:
        async with AsyncClient(broken.url, "key") as client:
            await client.submit_training({"corpus": "c"})

    asyncio.run(submit())
    first, second, third = broken.requests
    assert first == second == third
    assert first[2] is not None


def test_an_upload_is_sent_again_as_a_whole(broken: Broken, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"It was a bright cold day. " * 40_000)
    broken.answers = [CUT, (500, {"title": "broken"})]
    with Client(broken.url, "key") as client, pytest.raises(ServerError, match="broken"):
        client.upload(path)
    first, second = broken.requests
    assert first == second
    assert first[3] == path.read_bytes()


@pytest.mark.parametrize("request_of", [Client.cancel_job, Client.delete_model])
def test_what_may_have_been_done_is_not_done_again(
    broken: Broken, request_of: Callable[[Client, str], object]
) -> None:
    broken.answers = [CUT]
    with Client(broken.url, "key") as client, pytest.raises(ServerUnreachable):
        request_of(client, "1")
    assert len(broken.requests) == 1


def test_a_server_that_stays_away_is_named(broken: Broken) -> None:
    broken.answers = [CUT] * 9
    with Client(broken.url, "key") as client, pytest.raises(ServerUnreachable, match="quire up"):
        client.me()
    assert len(broken.requests) == 4


def test_a_server_that_is_slow_is_not_waited_for(broken: Broken) -> None:
    released = threading.Event()
    broken.answers = [released]
    with Client(broken.url, "key", timeout=0.2) as client:
        with pytest.raises(ServerUnreachable, match="did not answer in time"):
            client.me()
        released.set()
    assert len(broken.requests) == 1


def test_a_problem_of_the_server_is_told_at_once(broken: Broken) -> None:
    problem = {"type": "/problems/too-many-event-streams", "title": "Too many", "status": 503}
    broken.answers = [(503, problem)]
    with Client(broken.url, "key") as client, pytest.raises(ServerError) as error:
        client.job("1")
    assert error.value.status == 503
    assert len(broken.requests) == 1


def test_an_error_has_the_servers_sentence_fields_and_ways(broken: Broken) -> None:
    problem = {
        "type": "/problems/invalid",
        "title": "Invalid request",
        "status": 422,
        "detail": "units is 7",
        "code": "too_small",
        "ways": ["give 8 or more"],
        "errors": [{"field": "units", "value": 7, "message": "must be 8 or more"}],
    }
    broken.answers = [(422, problem)]
    with Client(broken.url, "key") as client, pytest.raises(ApiError) as raised:
        client.submit_training({"units": 7})
    error = raised.value
    assert (error.detail, error.code, error.ways) == ("units is 7", "too_small", ["give 8 or more"])
    assert [(each.field, each.value) for each in error.fields] == [("units", 7)]
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # its own bytes
    assert (str(again), again.status, type(again)) == (str(error), 422, type(error))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 418, 422, 429, 500, 503])
def test_the_errors_are_one_tree(status: int) -> None:
    error = error_of(status)(Problem(title="No"), status)
    assert isinstance(error, ApiError)
    assert isinstance(error, QuireError)
    assert isinstance(error, NotFound) == (status == 404)
    assert (type(error) is ApiError) == (status == 418)


LOGINS = {
    "both": ({"QUIRE_URL": "http://a", "QUIRE_KEY": "k"}, ("http://a", "k")),
    "the other name": ({"QUIRE_URL": "http://a", "QUIRE_API_KEY": "k"}, ("http://a", "k")),
    "both names": (
        {"QUIRE_URL": "http://a", "QUIRE_KEY": "k", "QUIRE_API_KEY": "k"},
        ("http://a", "k"),
    ),
    "an empty one": (
        {"QUIRE_URL": "http://a", "QUIRE_KEY": "", "QUIRE_API_KEY": "k"},
        ("http://a", "k"),
    ),
}


@pytest.mark.parametrize(("environment", "login"), LOGINS.values(), ids=LOGINS)
def test_the_environment_names_the_server_and_the_key(
    environment: dict[str, str], login: tuple[str, str]
) -> None:
    found = login_of_environment(environment=environment)
    assert (found.url, found.key) == login


def test_two_different_keys_are_refused() -> None:
    environment = {"QUIRE_URL": "http://a", "QUIRE_KEY": "k", "QUIRE_API_KEY": "l"}
    with pytest.raises(InvalidInput, match="QUIRE_KEY and QUIRE_API_KEY are both set, and differ"):
        login_of_environment(environment=environment)


@pytest.mark.parametrize("given", [{"url": "a:80"}, {"environment": {"QUIRE_URL": "a:80"}}])
def test_an_address_must_be_one(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"(url|QUIRE_URL) is 'a:80'.*http://"):
        login_of_environment(**{"environment": {}, **given})


def test_a_saved_login_is_used_and_its_key_goes_nowhere_else(
    tmp_path: Path, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotLoggedIn, match="quire login"):
        Client()
    (tmp_path / "quire").mkdir()
    (tmp_path / "quire" / "client.json").write_text(json.dumps({"url": broken.url, "key": "k"}))
    with Client() as client:
        assert client.url == broken.url
    with Client(broken.url + "/") as client:
        assert client.url == broken.url
    with pytest.raises(NotLoggedIn, match="no key for http://elsewhere"):
        Client("http://elsewhere")
    monkeypatch.setenv("QUIRE_API_KEY", "l")
    with Client("http://elsewhere") as client:
        assert client.url == "http://elsewhere"


def test_a_proxy_is_used_but_for_this_machine(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", broken.url)
    me = {"name": "ann", "role": "member"}
    broken.answers = [(200, me)]
    with Client("http://quire.example", "key") as client:
        assert client.me().name == "ann"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    broken.answers = [(200, me)]
    with Client(broken.url, "key") as client:
        assert client.me().name == "ann"
    assert [path for _, path, _, _ in broken.requests] == ["http://quire.example/v1/me", "/v1/me"]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_can_not_be_read_is_named(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("QUIRE_CA", str(path))
    with pytest.raises(InvalidInput, match=r"ca\.pem can't be used .*QUIRE_CA"):
        Client("https://quire.example", "key")
    with Client("http://quire.example", "key"):
        pass  # plain HTTP has no certificates


def test_a_server_is_trusted_by_its_authority_alone(
    broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=quire", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"https://127.0.0.1:{server.server_port}"
    try:
        for verify, trusted in ((None, False), (True, False), (False, True), (certificate, True)):
            with Client(url, "key", verify=verify) as client:
                assert client.is_alive() == trusted, verify
        monkeypatch.setenv("QUIRE_CA", str(certificate))
        with Client(url, "key") as client:
            assert client.is_alive()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
