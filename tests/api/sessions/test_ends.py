"""Sessions end; links sign in once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from shared import sessions
from shared.clock import database_now
from shared.tables import PageSession, SignInLink
from tests.api.harness import ApiHarness, Person, expire, problem
from tests.api.sessions.conftest import Browser, link_for
from tests.api.sse import EventStreamClient


def test_signing_out_ends_the_session(harness: ApiHarness, browser: Browser) -> None:
    token = browser.token
    response = browser.send("DELETE", "/v1/session")
    assert response.status_code == 204
    assert "quire_session_80=;" in response.headers["Set-Cookie"]
    assert browser.send("GET", "/v1/session").status_code == 204
    headers = {"Cookie": f"quire_session_80={token}"}
    thief = harness.app.test_client(use_cookies=False)
    assert "Sign in again" in problem(thief.get("/v1/me", headers=headers), 401)["detail"]


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
