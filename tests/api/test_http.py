"""HTTP itself: methods, media types, JSON, headers; and failures of the services below."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from werkzeug.test import TestResponse

from api.app import MAX_REQUEST_BYTES, create_app
from api.http.request_log import SECURITY_HEADERS
from shared.broker import Broker
from shared.database import make_engine
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person, assert_succeeded, problem


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """HTTP does not depend on the database."""
    return sqlite_url


@pytest.fixture
def log() -> Iterator[list[Any]]:
    """Collect log events."""
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as events:
        yield events


def test_unknown_urls_are_a_404(ann: Person) -> None:
    for path in (
        "/nothing",
        "/v1",
        "/v1/nothing",
        "/v1/jobs/",
        "//v1/jobs",
        "/v1//jobs",
        "/docs/x/y",
    ):
        assert "/docs" in problem(ann.get(path), 404)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET"),
        ("DELETE", "/v1/corpora", "GET"),
        ("GET", "/v1/train", "POST"),
        ("PATCH", "/v1/devices", "GET"),
        ("POST", "/health/live", "GET"),
        ("TRACE", "/v1/jobs", "GET"),
    ],
)
def test_unsupported_methods_are_a_405(ann: Person, method: str, path: str, allowed: str) -> None:
    answer = ann.send(method, path)
    assert allowed in problem(answer, 405)["detail"]
    assert allowed in answer.headers["Allow"]


def test_head_and_options(harness: ApiHarness, ann: Person) -> None:
    head = ann.send("HEAD", "/v1/jobs")
    assert (head.status_code, head.get_data()) == (200, b"")
    options = harness.app.test_client().options("/v1/train")
    assert options.status_code == 200
    assert "POST" in options.headers["Allow"]


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0"])
def test_a_request_that_does_not_accept_json_is_refused(ann: Person, accept: str) -> None:
    answer = ann.get("/v1/jobs", headers={"Accept": accept})
    assert "application/json" in problem(answer, 406)["detail"]


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "application/json", "text/html, */*;q=0.1", ""]
)
def test_a_request_that_accepts_json_is_answered(ann: Person, accept: str) -> None:
    assert ann.get("/v1/jobs", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b"{'corpus': 1}",
        b'{"epochs": NaN}',
        b'{"learning_rate": -Infinity}',
        b"[" * 60_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
        b'{"a": 1} x',
    ],
)
def test_invalid_json_is_a_400(ann: Person, body: bytes) -> None:
    for path in ("/v1/train", "/v1/generate", "/v1/corpora", "/v1/users/ann/keys"):
        answer = ann.post(path, data=body, content_type="application/json")
        assert problem(answer, 400)["type"] == "/problems/bad-json"


@pytest.mark.parametrize("body", ["[]", '"x"', "5", "null", "true", '"{}"'])
def test_json_that_is_not_an_object_is_a_422(ann: Person, body: str) -> None:
    answer = ann.post("/v1/train", data=body, content_type="application/json")
    problem(answer, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_without_a_json_content_type_is_a_415(ann: Person, kind: str) -> None:
    answer = ann.post("/v1/train", data=b"{}", content_type=kind)
    assert "application/json" in problem(answer, 415)["detail"]


def test_a_request_without_a_corpus_has_a_small_limit(ann: Person) -> None:
    too_much = json.dumps({"corpus": "x" * MAX_REQUEST_BYTES})
    for path in ("/v1/train", "/v1/jobs/x/cancel"):
        answer = ann.post(path, data=too_much, content_type="application/json")
        assert f"{MAX_REQUEST_BYTES:,}" in problem(answer, 413)["detail"]


def test_unread_parts_of_a_request_are_refused(ann: Person) -> None:
    corpus = ann.upload()
    for method, path in (
        ("GET", f"/v1/corpora/{corpus}"),
        ("GET", "/v1/me"),
        ("DELETE", f"/v1/corpora/{corpus}"),
        ("POST", "/v1/train"),
    ):
        body = problem(ann.send(method, f"{path}?force=yes", json={}), 422)
        assert body["errors"][0]["field"] == "force"
    problem(ann.send("DELETE", f"/v1/corpora/{corpus}", json={"force": True}), 422)
    assert_succeeded(ann.get(f"/v1/corpora/{corpus}"))


def test_every_response_has_the_security_headers(harness: ApiHarness, ann: Person) -> None:
    for answer in (
        ann.get("/v1/jobs"),
        ann.get("/v1/nothing"),
        harness.app.test_client().get("/v1/me"),
    ):
        assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Request-Id"]
    given = ann.get("/v1/jobs", headers={"X-Request-Id": "mine-1"})
    assert given.headers["X-Request-Id"] == "mine-1"
    forged = ann.get("/v1/jobs", headers={"X-Request-Id": "mine 1; x"})
    assert forged.headers["X-Request-Id"] != "mine 1; x"


def test_a_request_logs_one_line_without_secrets(
    harness: ApiHarness, ann: Person, log: list[Any]
) -> None:
    ann.get("/v1/jobs?limit=3", headers={"X-Request-Id": "mine-2"})
    ann.post("/v1/users/ann/keys", {})
    harness.app.test_client().get("/v1/me", headers={"Authorization": f"Bearer {ann.key}x"})
    lines = [event for event in log if event["event"] == "request"]
    assert lines[0] | {"ms": 0} == {
        "event": "request",
        "log_level": "info",
        "request_id": "mine-2",
        "user": "ann",
        "method": "GET",
        "route": "/v1/jobs",
        "status": 200,
        "ms": 0,
        "address": "127.0.0.1",
        "key_prefix": ann.key.split("_")[1],
    }
    assert [line["status"] for line in lines] == [200, 201, 401]
    assert "user" not in lines[2]
    assert ann.key.rpartition("_")[2] not in str(log)


def test_an_unexpected_error_leaks_nothing(
    harness: ApiHarness, ann: Person, log: list[Any]
) -> None:
    corpus = ann.upload()
    with harness.engine.begin() as connection:
        connection.execute(text("ALTER TABLE users RENAME COLUMN name TO nom"))
        connection.execute(text("ALTER TABLE users ADD COLUMN name INTEGER DEFAULT 0 NOT NULL"))
    answer = ann.get(f"/v1/corpora/{corpus}")
    body = problem(answer, 500)
    assert "Traceback" not in answer.text
    assert "users" not in answer.text
    assert answer.headers["X-Request-Id"]
    assert body["type"] == "/problems/internal-error"
    assert any(event["event"] == "unexpected_error" for event in log)


def test_an_unreachable_database_is_a_503(
    harness: ApiHarness, ann: Person, redis_url: str, tmp_path: Path
) -> None:
    nowhere = "postgresql://quire:a-password@localhost:1/quire"
    settings = settings_for(nowhere, redis_url, tmp_path)
    engine = make_engine(nowhere)
    client = create_app(settings, engine, Broker(redis_url)).test_client()
    for answer in (
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {ann.key}"}),
        client.post("/v1/train", json={}, headers={"Authorization": f"Bearer {ann.key}"}),
    ):
        assert "Try again" in problem(answer, 503)["detail"]
        assert int(answer.headers["Retry-After"]) > 0
        assert "password" not in answer.text
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json == {
        "status": "unavailable",
        "database": "unreachable",
        "redis": "ok",
    }
    engine.dispose()


def test_health_needs_no_key(harness: ApiHarness) -> None:
    client = harness.app.test_client()
    assert client.get("/health/live").json == {"status": "ok"}
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json) == (
        200,
        {"status": "ok", "database": "ok", "redis": "ok"},
    )


def test_without_redis_jobs_are_still_queued(
    harness: ApiHarness, ann: Person, tmp_path: Path
) -> None:
    nowhere = f"unix://{tmp_path}/nobody.sock"
    settings = settings_for(str(harness.engine.url), nowhere, tmp_path)
    client = create_app(settings, harness.engine, Broker(nowhere)).test_client()
    person = Person(client, "ann", ann.key)
    job = person.train(person.upload())
    assert harness.claim(job["id"]).job_id == job["id"]
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json["database"] == "ok"
    assert "unreachable" in ready.json["redis"]


def test_the_docs_load_nothing_from_other_hosts(harness: ApiHarness) -> None:
    client = harness.app.test_client()

    def read(path: str) -> TestResponse:
        answer = client.get(path, buffered=True)
        assert answer.status_code == 200, path
        return answer

    page = read("/docs")
    assert page.content_type.startswith("text/html")
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"].partition("style")[0]
    addresses = [part.split('"')[0] for part in page.text.split('="')[1:] if part.startswith("/")]
    assert len(addresses) == 4
    for address in addresses:
        read(address)
    assert "http" not in page.text.replace("http-equiv", "")
    assert "/openapi.json" in read("/docs/start.js").text
    assert client.get("/docs/js/../../__init__.py").status_code == 404
