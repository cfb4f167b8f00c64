"""Browsers sign in with a key, and what their session may do."""

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from api.front import name_sender, session_tokens
from api.http.head_policy import MAX_ANONYMOUS_BYTES, ApiHeadPolicy
from api.http.session_cookie import token_of_request
from shared import sessions
from shared.database import make_sessions
from shared.tables import ApiKey, PageSession
from tests.api.harness import ENGLISH, ApiHarness, Person, problem
from tests.api.people.test_key_scopes import with_scopes
from tests.api.sessions.conftest import CSRF, Browser, link_for


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


def test_without_a_cookie_there_is_no_session(harness: ApiHarness, ann: Person) -> None:
    assert ann.get("/v1/session").status_code == 204
    assert harness.app.test_client().get("/v1/session").status_code == 204
    assert ann.delete("/v1/session").status_code == 204
    problem(harness.app.test_client().delete("/v1/session"), 401)


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


def test_signing_in_counts_against_the_limit_of_requests(harness: ApiHarness, ann: Person) -> None:
    response = Browser(harness).sign_in(key=ann.key)
    assert '"requests"' in response.headers["RateLimit-Policy"]


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
