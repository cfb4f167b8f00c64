"""Sessions of browsers: the cookie, the CSRF token, their end, and links that sign in once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from api.front import name_sender, session_tokens
from api.http.head_policy import MAX_ANONYMOUS_BYTES, ApiHeadPolicy
from api.http.session_cookie import token_of_request
from shared import sessions
from shared.clock import database_now
from shared.database import make_sessions
from shared.tables import ApiKey, PageSession, SignInLink, User
from tests.api.harness import ENGLISH, ApiHarness, Person, expire, problem
from tests.api.people.test_key_scopes import with_scopes
from tests.api.sse import EventStreamClient

CSRF = "X-CSRF-Token"


class Browser:
    """A browser: it keeps the cookie, and sends no key."""

    def __init__(self, harness: ApiHarness) -> None:
        self.client: FlaskClient = harness.app.test_client()
        self.csrf = ""

    def sign_in(self, **body: str) -> TestResponse:
        response = self.client.post("/v1/session", json=body)
        if response.status_code == 201:
            self.csrf = response.json["csrf_token"]
        return response

    def send(self, method: str, path: str, json: Any = None, csrf: str | None = None) -> Any:
        token = self.csrf if csrf is None else csrf
        headers = {CSRF: token} if token else {}
        return self.client.open(path, method=method, json=json, headers=headers)

    @property
    def token(self) -> str:
        cookie = self.client.get_cookie("quire_session_80", path="/v1")
        assert cookie is not None
        return str(cookie.value)


@pytest.fixture
def browser(harness: ApiHarness, ann: Person) -> Browser:
    browser = Browser(harness)
    assert browser.sign_in(key=ann.key).status_code == 201
    return browser


def link_for(harness: ApiHarness, name: str) -> str:
    with make_sessions(harness.engine).begin() as session:
        return sessions.make_link(session, session.scalars(select(User).filter_by(name=name)).one())


def test_a_key_signs_a_browser_in_and_is_not_kept(harness: ApiHarness, ann: Person) -> None:
    browser = Browser(harness)
    response = browser.sign_in(key=ann.key)
    reply = response.json
    assert reply["user"] == ann.get("/v1/me").json
    assert reply["origin"] == "key"
    cookie = response.headers["Set-Cookie"]
    for attribute in ("quire_session_80=", "HttpOnly", "SameSite=Strict", "Path=/v1", "Expires="):
        assert attribute in cookie
    assert "Secure" not in cookie
    assert browser.send("GET", "/v1/me").json["name"] == "ann"
    again = browser.send("GET", "/v1/session").json
    assert again == reply
    with harness.engine.connect() as connection:
        stored = str(connection.execute(select(PageSession.__table__)).all())
    for secret in (browser.token, browser.csrf, ann.key):
        assert secret not in stored


def test_the_cookie_is_secure_behind_tls_and_named_after_the_port(
    harness: ApiHarness, ann: Person
) -> None:
    client = harness.app.test_client()
    for base, name, secure in (
        ("http://localhost:8421", "quire_session_8421", False),
        ("https://quire.example", "quire_session_443", True),
        ("http://[::1]:9000", "quire_session_9000", False),
    ):
        response = client.post("/v1/session", json={"key": ann.key}, base_url=base)
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith(f"{name}=")
        assert ("; Secure" in cookie) is secure


def test_a_cookie_of_another_port_is_not_taken(harness: ApiHarness, browser: Browser) -> None:
    other = harness.app.test_client(use_cookies=False)
    cookies = f"quire_session_81={browser.token}; other=1"
    problem(other.get("/v1/me", headers={"Cookie": cookies}), 401)
    cookies += f"; quire_session_80={browser.token}"
    assert other.get("/v1/me", headers={"Cookie": cookies}).status_code == 200


def test_a_session_is_for_v1_alone(harness: ApiHarness, browser: Browser) -> None:
    headers = {"Cookie": f"quire_session_80={browser.token}"}
    for path, expected in (("/v1/me", browser.token), ("/openai/v1/models", None)):
        with harness.app.test_request_context(path, base_url="http://x", headers=headers):
            assert token_of_request() == expected


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"key": "quire_00000000_" + "0" * 64}, 401),
        ({"key": "x"}, 401),
        ({"link": "x"}, 401),
        ({}, 422),
        ({"key": ""}, 422),
        ({"key": None, "link": None}, 422),
        ({"key": "x", "link": "y"}, 422),
        ({"key": 5}, 422),
        ({"key": "x" * 201}, 422),
        ({"key": "x", "user": "ann"}, 422),
    ],
)
def test_a_wrong_sign_in_is_refused_and_sets_no_cookie(
    harness: ApiHarness, body: dict[str, Any], status: int
) -> None:
    response = Browser(harness).sign_in(**body)
    problem(response, status)
    assert "Set-Cookie" not in response.headers


def test_what_changes_something_needs_the_csrf_token(harness: ApiHarness, browser: Browser) -> None:
    other = Browser(harness)
    with make_sessions(harness.engine).begin() as session:
        key = session.scalars(select(ApiKey)).one().prefix
    corpus = {"name": "a", "text": ENGLISH}
    for wrong in (
        "",
        "x",
        browser.token,
        sessions.csrf_token("another"),
        "ä".encode().decode("latin1"),
    ):
        refused = problem(browser.send("POST", "/v1/corpora", corpus, csrf=wrong), 403)
        assert CSRF in refused["detail"]
        problem(browser.send("DELETE", f"/v1/keys/{key}", csrf=wrong), 403)
        problem(browser.send("DELETE", "/v1/session", csrf=wrong), 403)
    assert browser.send("GET", "/v1/corpora", csrf="x").json["items"] == []
    assert browser.send("POST", "/v1/corpora", corpus).status_code == 201
    problem(other.send("POST", "/v1/corpora", corpus, csrf=browser.csrf), 401)


def test_a_key_needs_no_csrf_token_and_comes_before_the_cookie(
    harness: ApiHarness, browser: Browser, bob: Person
) -> None:
    headers = {"Authorization": f"Bearer {bob.key}"}
    assert browser.client.get("/v1/me", headers=headers).json["name"] == "bob"
    made = browser.client.post("/v1/users/bob/keys", json={}, headers=headers)
    assert made.status_code == 201
    problem(browser.client.get("/v1/me", headers={"Authorization": "Bearer x"}), 401)


def test_signing_out_ends_the_session(harness: ApiHarness, browser: Browser) -> None:
    token = browser.token
    response = browser.send("DELETE", "/v1/session")
    assert response.status_code == 204
    assert "quire_session_80=;" in response.headers["Set-Cookie"]
    assert browser.send("GET", "/v1/session").status_code == 204
    headers = {"Cookie": f"quire_session_80={token}"}
    thief = harness.app.test_client(use_cookies=False)
    assert "Sign in again" in problem(thief.get("/v1/me", headers=headers), 401)["detail"]


def test_without_a_cookie_there_is_no_session(harness: ApiHarness, ann: Person) -> None:
    assert ann.get("/v1/session").status_code == 204
    assert harness.app.test_client().get("/v1/session").status_code == 204
    assert ann.delete("/v1/session").status_code == 204
    problem(harness.app.test_client().delete("/v1/session"), 401)


def test_sessions_end_with_their_key_and_with_its_owner(
    harness: ApiHarness, browser: Browser, ann: Person, admin: Person
) -> None:
    admin.patch("/v1/users/ann", {"disabled": True})
    problem(browser.send("GET", "/v1/me"), 401)
    assert browser.send("GET", "/v1/session").status_code == 204
    admin.patch("/v1/users/ann", {"disabled": False})
    assert browser.send("GET", "/v1/me").status_code == 200
    [key] = ann.items("/v1/users/ann/keys")
    assert [session["origin"] for session in key["sessions"]] == ["key"]
    assert ann.delete(f"/v1/keys/{key['prefix']}").status_code == 204
    problem(browser.send("GET", "/v1/me"), 401)
    assert browser.send("GET", "/v1/session").status_code == 204
    [key] = admin.items("/v1/users/ann/keys")
    assert key["sessions"] == []


def test_a_session_has_the_scopes_of_its_key(harness: ApiHarness, ann: Person) -> None:
    reader = with_scopes(harness, "ann", "read")
    browser = Browser(harness)
    reply = browser.sign_in(key=reader.key).json
    assert reply["user"]["key"]["scopes"] == ["read"]
    assert reply["user"] == browser.send("GET", "/v1/me").json
    body = problem(browser.send("POST", "/v1/corpora", {"name": "a", "text": ENGLISH}), 403)
    assert body["type"] == "/problems/missing-scope"
    assert "`submit`" in body["detail"]
    [session] = ann.items("/v1/users/ann/keys")[0]["sessions"]
    problem(browser.send("DELETE", f"/v1/sessions/{session['id']}"), 403)
    policy = ApiHeadPolicy(harness.app)
    client = harness.app.test_client(use_cookies=False)
    cookie = {"Cookie": f"quire_session_80={browser.token}"}
    assert not policy.admits(client.post("/v1/corpora", headers=cookie).request.environ)
    assert browser.send("DELETE", "/v1/session").status_code == 204


def test_a_session_of_an_admin_needs_the_scope_of_one(harness: ApiHarness, admin: Person) -> None:
    browser = Browser(harness)
    browser.sign_in(key=with_scopes(harness, "root", "read", "manage").key)
    assert problem(browser.send("GET", "/v1/users"), 403)["type"] == "/problems/missing-scope"


def test_a_key_that_may_not_read_signs_nobody_in(harness: ApiHarness, ann: Person) -> None:
    response = Browser(harness).sign_in(key=with_scopes(harness, "ann", "submit").key)
    assert problem(response, 403)["type"] == "/problems/missing-scope"
    assert "Set-Cookie" not in response.headers
    assert [key["sessions"] for key in ann.items("/v1/users/ann/keys")] == [[], []]


def test_a_session_ends_when_its_key_expires(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    made = ann.post("/v1/users/ann/keys", {"expires_at": soon.isoformat()}).json
    browser = Browser(harness)
    reply = browser.sign_in(key=made["key"]).json
    assert datetime.fromisoformat(reply["expires_at"]) == soon
    expire(harness, Person(browser.client, "ann", made["key"]))
    assert "Sign in again" in problem(browser.send("GET", "/v1/me"), 401)["detail"]
    assert browser.send("GET", "/v1/session").status_code == 204
    refused = problem(Browser(harness).sign_in(key=made["key"]), 401)
    assert refused["type"] == "/problems/key-expired"


def test_sessions_are_in_the_audit(harness: ApiHarness, ann: Person, admin: Person) -> None:
    browser, other = Browser(harness), Browser(harness)
    session = browser.sign_in(key=ann.key).json
    expected = {
        "actor": "ann",
        "user": "ann",
        "key_prefix": ann.key.split("_")[1],
        "address": "127.0.0.1",
        "resource": {"kind": "session", "id": session["id"]},
    }
    [event] = admin.items("/v1/audit?action=session.created")
    assert event.items() >= (expected | {"details": {"by": "key"}}).items()
    browser.send("DELETE", "/v1/session")
    [event] = admin.items("/v1/audit?action=session.ended")
    assert event.items() >= expected.items()
    second = other.sign_in(key=ann.key).json
    admin.delete(f"/v1/sessions/{second['id']}")
    event = admin.items("/v1/audit?action=session.ended")[0]
    assert (event["actor"], event["user"]) == ("root", "ann")
    told = str(admin.items("/v1/audit?limit=200"))
    for secret in (browser.csrf, ann.key, other.token):
        assert secret not in told


def test_refused_sign_ins_are_counted(harness: ApiHarness, ann: Person, admin: Person) -> None:
    link = link_for(harness, "root")
    assert Browser(harness).sign_in(link=link).status_code == 201
    for body in ({"key": f"{ann.key[:-4]}0000"}, {"key": "x"}, {"link": link}, {"link": "x"}):
        problem(Browser(harness).sign_in(**body), 401)
    refused = admin.items("/v1/audit?action=sign_in.refused")
    reasons = Counter[str]()
    for event in refused:
        reasons.update(event["details"]["reasons"])
    assert reasons == {"unknown": 1, "malformed": 1, "sign-in link": 2}
    assert ann.key.split("_")[1] in refused[0]["details"]["key_prefixes"]


def test_a_session_expires(harness: ApiHarness, browser: Browser, ann: Person) -> None:
    with harness.engine.begin() as connection:
        connection.execute(update(PageSession).values(expires_at=database_now(connection)))
    problem(browser.send("GET", "/v1/me"), 401)
    assert browser.send("GET", "/v1/session").status_code == 204
    assert ann.items("/v1/users/ann/keys")[0]["sessions"] == []
    assert browser.sign_in(key=ann.key).status_code == 201
    with harness.engine.connect() as connection:
        assert len(connection.execute(select(PageSession.id)).all()) == 1, "the old row is gone"


def test_the_owner_and_an_admin_end_a_session_and_nobody_else(
    harness: ApiHarness, browser: Browser, ann: Person, bob: Person, admin: Person
) -> None:
    second = Browser(harness)
    second.sign_in(key=ann.key)
    newest, oldest = ann.items("/v1/users/ann/keys")[0]["sessions"]
    problem(bob.delete(f"/v1/sessions/{newest['id']}"), 404)
    assert ann.delete(f"/v1/sessions/{newest['id']}").status_code == 204
    problem(second.send("GET", "/v1/me"), 401)
    problem(ann.delete(f"/v1/sessions/{newest['id']}"), 404)
    assert browser.send("GET", "/v1/me").status_code == 200
    assert admin.delete(f"/v1/sessions/{oldest['id']}").status_code == 204
    problem(browser.send("GET", "/v1/me"), 401)
    problem(admin.delete("/v1/sessions/mine"), 404)


def test_a_key_has_a_bounded_number_of_sessions(harness: ApiHarness, ann: Person) -> None:
    browsers = [Browser(harness) for _ in range(sessions.MAX_SESSIONS_PER_KEY + 1)]
    for browser in browsers:
        assert browser.sign_in(key=ann.key).status_code == 201
    problem(browsers[0].send("GET", "/v1/me"), 401)
    assert browsers[1].send("GET", "/v1/me").status_code == 200
    [key] = ann.items("/v1/users/ann/keys")
    assert len(key["sessions"]) == sessions.MAX_SESSIONS_PER_KEY


def test_a_link_signs_in_once_and_its_session_ends_with_the_key_of_links(
    harness: ApiHarness, admin: Person
) -> None:
    token = link_for(harness, "root")
    browser = Browser(harness)
    reply = browser.sign_in(link=token).json
    assert (reply["origin"], reply["user"]["name"]) == ("link", "root")
    assert browser.send("GET", "/v1/users").status_code == 200
    assert "used already" in problem(Browser(harness).sign_in(link=token), 401)["detail"]
    key = admin.items("/v1/users/root/keys")[0]
    assert key["name"] == sessions.LINK_KEY_NAME
    assert [session["origin"] for session in key["sessions"]] == ["link"]
    other = Browser(harness)
    other.sign_in(link=link_for(harness, "root"))
    assert len(admin.items("/v1/users/root/keys")) == 2, "links share one key"
    admin.delete(f"/v1/keys/{key['id']}")
    for each in (browser, other):
        problem(each.send("GET", "/v1/me"), 401)
    assert Browser(harness).sign_in(link=link_for(harness, "root")).status_code == 201


def test_a_link_grows_too_old(harness: ApiHarness, admin: Person) -> None:
    token = link_for(harness, "root")
    with harness.engine.begin() as connection:
        connection.execute(update(SignInLink).values(expires_at=database_now(connection)))
    problem(Browser(harness).sign_in(link=token), 401)
    link_for(harness, "root")
    with harness.engine.connect() as connection:
        assert len(connection.execute(select(SignInLink.sha256)).all()) == 1, "the old row is gone"


def test_of_many_that_use_a_link_at_once_one_signs_in(harness: ApiHarness, admin: Person) -> None:
    token = link_for(harness, "root")
    with ThreadPoolExecutor(4) as pool:
        statuses = list(
            pool.map(lambda _: Browser(harness).sign_in(link=token).status_code, range(4))
        )
    assert sorted(statuses) == [201, 401, 401, 401]


def test_signing_in_counts_against_the_limit_of_requests(harness: ApiHarness, ann: Person) -> None:
    response = Browser(harness).sign_in(key=ann.key)
    assert '"requests"' in response.headers["RateLimit-Policy"]


def test_a_stream_ends_with_its_session(
    harness: ApiHarness, browser: Browser, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.operations.following.event_stream.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.job_follower.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.job_follower.SLOW_CHECK_SECONDS", 0.3)
    job = ann.train(ann.upload())
    headers = {"Cookie": f"quire_session_80={browser.token}"}
    stream = EventStreamClient(ann, job["id"], headers=headers)
    assert stream.next().kind == "state"  # type: ignore[union-attr]
    assert browser.send("DELETE", "/v1/session").status_code == 204
    assert stream.read_to_end()[-1].kind == "closed"


def test_the_front_knows_sessions(harness: ApiHarness, browser: Browser) -> None:
    cookie = f"a=b; quire_session_80={browser.token}; c=d"
    assert session_tokens(cookie) == {"quire_session_80": browser.token}
    assert session_tokens("xquire_session_80=a; quire_session_=b; quire_session_80=ä") == {}
    assert name_sender("Bearer k", cookie, "::1") == "Bearer k"
    assert name_sender(None, cookie, "::1") == f"session {browser.token}"
    assert name_sender(None, "a=b", "::1") == "::1"
    policy = ApiHeadPolicy(harness.app)
    assert policy.body_limit("POST", "/v1/session") == MAX_ANONYMOUS_BYTES

    def environ(**headers: str) -> dict[str, Any]:
        client = harness.app.test_client(use_cookies=False)
        builder = client.post("/v1/corpora", headers=headers)
        return builder.request.environ

    assert policy.admits(environ(Cookie=cookie))
    assert not policy.admits(environ(Cookie="quire_session_80=unknown"))
    assert not policy.admits(environ(Cookie=cookie, Authorization="Bearer x"))
