"""Pages of other origins speak to the API with keys, and never with cookies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.services import EXTENSION
from shared.broker import Broker
from shared.database import make_engine
from shared.queue import Queue
from shared.settings import SettingsError, load_settings
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, Person, problem
from tests.services.statements import noted_statements

ORIGIN = "https://notes.example"


@pytest.fixture
def open_harness(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[ApiHarness]:
    """An API to which the pages of one origin may speak."""
    settings = settings_for(sqlite_url, redis_url, tmp_path)
    settings = settings.model_copy(update={"cors_origins": f"{ORIGIN}, http://localhost:3000"})
    engine = make_engine(settings.database)
    app = create_app(settings, engine, Broker(settings.broker))
    yield ApiHarness(app, engine, Queue(engine, settings))
    app.extensions[EXTENSION].close()


def preflight(person: Person, path: str, origin: str = ORIGIN, **headers: str) -> Any:
    sent = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
        **headers,
    }
    return person.client.options(path, headers=sent)


@pytest.mark.parametrize("path", ["/v1/generate", "/openai/v1/completions", "/v1/nothing"])
def test_a_preflight_is_answered_without_the_database(open_harness: ApiHarness, path: str) -> None:
    ann = open_harness.person("ann")
    with noted_statements(open_harness.engine) as statements:
        answer = preflight(ann, path)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"]
    assert allowed == "authorization,content-type,x-stainless-lang"
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert statements == []


def test_answers_and_errors_can_be_read(open_harness: ApiHarness) -> None:
    ann = open_harness.person("ann")
    sent = {"Origin": ORIGIN}
    for answer in (ann.get("/v1/models", headers=sent), ann.get("/v1/models/x", headers=sent),
                   ann.get("/openai/v1/models", headers=sent)):  # fmt: skip
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert {"Location", "Retry-After", "RateLimit", "X-Request-Id"} <= set(exposed.split(", "))
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for path in ("/health/live", "/openapi.json", "/v1x", "/"):
        answer = ann.get(path, headers=sent)
        assert "Access-Control-Allow-Origin" not in answer.headers, path


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://notes.example.evil.example",
        "http://notes.example",
        "https://notes.example:8443",
        "null",
        "*",
    ],
)
def test_other_origins_get_nothing(open_harness: ApiHarness, origin: str) -> None:
    ann = open_harness.person("ann")
    for answer in (
        preflight(ann, "/v1/train", origin),
        ann.get("/v1/me", headers={"Origin": origin}),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in answer.headers["Vary"]


def test_a_cookie_from_another_origin_counts_for_nothing(open_harness: ApiHarness) -> None:
    ann = open_harness.person("ann")
    browser = open_harness.app.test_client()
    signed_in = browser.post("/v1/session", json={"key": ann.key})
    assert signed_in.status_code == 201
    assert browser.get("/v1/me").status_code == 200
    assert browser.get("/v1/me", headers={"Origin": ORIGIN}).status_code == 401
    # The page of the server itself sends its origin too, with what changes something.
    own = {"Origin": "http://localhost"}
    assert browser.get("/v1/me", headers=own).status_code == 200
    stranger = open_harness.app.test_client()
    answer = stranger.post("/v1/session", json={"key": ann.key}, headers={"Origin": ORIGIN})
    assert "Set-Cookie" not in answer.headers
    assert stranger.get("/v1/me").status_code == 401


def test_the_list_of_headers_has_bounds(open_harness: ApiHarness) -> None:
    ann = open_harness.person("ann")
    for names in ("x" * 5000, "a\tb;c", "a,,b", "ä"):
        answer = preflight(ann, "/v1/train", **{"Access-Control-Request-Headers": names})
        assert "Access-Control-Allow-Headers" not in answer.headers
    answer = preflight(ann, "/v1/train", **{"Access-Control-Request-Private-Network": "true"})
    assert answer.headers["Access-Control-Allow-Private-Network"] == "true"


def test_it_is_off_by_default(harness: ApiHarness, ann: Person) -> None:
    answer = ann.get("/v1/me", headers={"Origin": ORIGIN})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    assert preflight(ann, "/v1/train").headers.get("Access-Control-Allow-Origin") is None
    problem(ann.get("/v1/models/x", headers={"Origin": ORIGIN}), 404)


@pytest.mark.parametrize(
    "value", ["*", "notes.example", "https://Notes.example", "https://a/b", "null"]
)
def test_what_is_no_origin_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match="QUIRE_CORS_ORIGINS"):
        load_settings(cors_origins=value)
