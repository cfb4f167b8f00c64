"""Errors below ``/openai/v1`` have the envelope of OpenAI's API; others stay problems."""

import json
import socket
import threading
from typing import Any

import pytest

from api.app import MAX_REQUEST_BYTES, create_app
from api.error_forms import is_retry_useless
from api.front import Front, FrontLimits
from api.http.head_policy import ApiHeadPolicy
from api.services import EXTENSION
from shared.broker import Broker
from shared.database import make_engine
from shared.settings import Settings
from tests.api.harness import ApiHarness, Person, problem
from tests.openai.calls import ROOT, completions, error


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Errors do not depend on the database."""
    return sqlite_url


def test_a_key_is_needed(harness: ApiHarness, ann: Person) -> None:
    for key in ("", "quire_nobody_00", ann.key[:-1]):
        for method, path in (("GET", "models"), ("POST", "completions"), ("DELETE", "models/x")):
            answer = Person(ann.client, "x", key).send(method, f"{ROOT}/{path}")
            found = error(answer, 401)
            assert (found["type"], found["code"]) == ("authentication_error", "invalid_api_key")
            assert answer.headers["WWW-Authenticate"]


def test_what_is_not_there_is_a_404_that_says_where_to_look(ann: Person) -> None:
    for path in ("", "/", "/embeddings", "/responses", "/nothing", "/models/", "//models"):
        found = error(ann.get(f"{ROOT}{path}"), 404)
        assert found["code"] == "unknown_url"
        assert "docs/clients.md" in found["message"]
    # Another path is no part of this face.
    problem(ann.get("/openai/v1nothing"), 404)
    problem(ann.get("/openai"), 404)


def test_methods_media_types_and_bodies(ann: Person) -> None:
    answer = ann.get(f"{ROOT}/completions")
    assert "POST" in error(answer, 405)["message"]
    assert "POST" in answer.headers["Allow"]
    wrong = {"data": b"{}", "headers": {"Content-Type": "text/plain"}}
    found = error(ann.send("POST", f"{ROOT}/completions", **wrong), 415)
    assert found["code"] == "unsupported_media_type"
    for data in (b"", b"{", b"[]", b'"x"', b'{"model": NaN}', b"\xff"):
        sent = {"data": data, "headers": {"Content-Type": "application/json"}}
        error(ann.send("POST", f"{ROOT}/completions", **sent), 400)
    large = {"data": b" " * (MAX_REQUEST_BYTES + 1), "headers": wrong["headers"]}
    large["headers"] = {"Content-Type": "application/json"}
    error(ann.send("POST", f"{ROOT}/chat/completions", **large), 413)


def test_the_document_of_v1_does_not_describe_it(harness: ApiHarness) -> None:
    document: Any = harness.app.test_client().get("/openapi.json").json
    assert {path for path in document["paths"] if path.startswith("/openai")} == set()
    assert {"Completion", "FileObject"} & document["components"]["schemas"].keys() == set()
    assert {tag["name"] for tag in document["tags"] if "openai" in tag["name"]} == set()


def test_every_accept_header_is_good_enough(harness: ApiHarness, ann: Person) -> None:
    harness.model(ann, name="orwell")
    for accept in ("text/event-stream", "text/plain", "image/png"):
        assert ann.get(f"{ROOT}/models", headers={"Accept": accept}).status_code == 200
        answer = ann.post(f"{ROOT}/completions", {}, headers={"Accept": accept})
        assert error(answer, 400)["code"] == "missing_required_parameter"


def test_a_query_that_nobody_reads_is_refused(ann: Person) -> None:
    assert error(ann.get(f"{ROOT}/models?limit=5"), 400)["param"] == "limit"


def test_codes_tell_programs_what_is_wrong(harness: ApiHarness, ann: Person) -> None:
    harness.model(ann, name="orwell")
    unknown = error(completions(ann, model="orwell", temprature=1), 400)
    assert (unknown["code"], unknown["param"]) == ("unknown_parameter", "temprature")
    assert "docs/clients.md" in unknown["message"]
    assert error(completions(ann, model="orwell", n=0), 400)["code"] == "invalid_value"


def test_the_rate_limit_holds_here_too(settings: Settings) -> None:
    few = settings.model_copy(update={"requests_per_minute": 2})
    engine = make_engine(few.database)
    from shared.queue import Queue

    app = create_app(few, engine, Broker(few.broker))
    ann = ApiHarness(app, engine, Queue(engine, few)).person("ann")
    assert [ann.get(f"{ROOT}/models").status_code for _ in range(2)] == [200, 200]
    answer = ann.get(f"{ROOT}/models")
    found = error(answer, 429)
    assert (found["type"], found["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert int(answer.headers["Retry-After"]) <= 60
    assert "x-should-retry" not in answer.headers
    engine.dispose()


def test_a_full_queue_is_a_429(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann, name="orwell")
    for _ in range(12):
        assert ann.post("/v1/generate", {"model": model["id"]}).status_code == 202
    answer = completions(ann, model="orwell")
    assert error(answer, 429)["code"] == "queue_full"
    assert answer.headers["Retry-After"] == "30"
    assert "x-should-retry" not in answer.headers


def test_an_unreachable_database_is_a_503(harness: ApiHarness, ann: Person, tmp_path: Any) -> None:
    harness.engine.dispose()
    (tmp_path / "quire.db").rename(tmp_path / "away.db")
    (tmp_path / "quire.db").mkdir()
    answer = ann.get(f"{ROOT}/models")
    found = error(answer, 503)
    assert (found["type"], found["code"]) == ("server_error", "database_unavailable")
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize(
    ("status", "retry_after", "useless"),
    [
        (409, None, True),
        (429, "5", False),
        (429, "3600", True),
        (503, "15", False),
        (503, None, True),
        (507, None, True),
        (500, None, False),
        (408, None, False),
        (400, None, False),
        (404, None, False),
    ],
)
def test_clients_are_told_where_a_retry_is_useless(
    status: int, retry_after: str | None, useless: bool
) -> None:
    assert is_retry_useless(status, retry_after) is useless


def test_the_fronts_own_refusals_have_the_envelope(harness: ApiHarness) -> None:
    """What is no HTTP, and a body that is cut off by a deadline, never reach the application."""
    services = harness.app.extensions[EXTENSION]
    listener, stopping = socket.create_server(("127.0.0.1", 0)), threading.Event()
    limits = FrontLimits(head_seconds=1.0, body_seconds=1.0, linger_seconds=1.0)
    policy = ApiHeadPolicy(harness.app)
    front = Front(harness.app.wsgi_app, listener, policy, limits, services.request_slots)
    thread = threading.Thread(target=front.serve, args=(stopping, 1.0))
    thread.start()
    key = harness.person("ann").key
    start = f"POST {ROOT}/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    try:
        for head, status, code in (
            ("Content-Length: 1, 2\r\n\r\n", 400, "bad_request"),
            ("Transfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"),
            ("Content-Length: 10\r\n\r\n{", 408, "request_timeout"),
        ):
            with socket.create_connection(listener.getsockname(), 10) as sock:
                sock.sendall((start + head).encode())
                received = b""
                while piece := sock.recv(65536):
                    received += piece
            top, _, body = received.partition(b"\r\n\r\n")
            assert top.startswith(b"HTTP/1.1 %d " % status), received
            assert b"application/json" in top
            found = json.loads(body)["error"]
            assert (found["code"], found["param"]) == (code, None)
            assert found["message"]
            assert (b"x-should-retry: false" in top.lower()) == (status == 501)
    finally:
        stopping.set()
        front.pull_trigger()
        thread.join(10)
    assert not thread.is_alive()
