"""One-time links: opening redeems nothing, and of all who redeem only the first gets a key."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from shared.accounts import create_user
from shared.database import make_sessions
from shared.tables import ApiKey, Enrolment
from tests.api.harness import ApiHarness, Person, problem

NOBODY = f"quire_enrol_00000000_{'0' * 64}"


def enrol(admin: Person, user: str = "ann", **fields: Any) -> Any:
    """Make an enrolment; return the reply."""
    made = admin.post(f"/v1/users/{user}/enrolments", fields)
    assert made.status_code == 201, made.text
    return made.json


def token_of(made: Any) -> str:
    return str(made["link"].partition("#")[2])


def redeem(harness: ApiHarness, token: str, **fields: Any) -> TestResponse:
    client = harness.app.test_client()
    return client.post("/v1/enrol", json={"token": token, **fields})


def test_a_link_makes_one_key(harness: ApiHarness, ann: Person, admin: Person) -> None:
    made = enrol(admin)
    assert made["link"].startswith("http://localhost/enrol#quire_enrol_")
    assert (made["user"], made["state"], made["made_by"]) == ("ann", "open", "root")
    expires_in = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6.9) < expires_in < timedelta(days=7.1)
    reply = redeem(harness, token_of(made), name="my laptop")
    assert reply.status_code == 201
    assert (reply.json["user"], reply.json["name"]) == ("ann", "my laptop")
    person = Person(harness.app.test_client(), "ann", reply.json["key"])
    assert person.get("/v1/me").json["name"] == "ann"
    key = ann.items("/v1/users/ann/keys")[0]
    assert (key["made_by"], key["made_from"]) == ("ann", "127.0.0.1")
    [listed] = admin.items("/v1/users/ann/enrolments")
    assert listed["state"] == "redeemed"
    assert listed["redeemed_from"] == "127.0.0.1"
    assert "link" not in listed


def test_opening_a_link_redeems_nothing(harness: ApiHarness, ann: Person, admin: Person) -> None:
    made = enrol(admin)
    page = harness.app.test_client().get("/enrol")
    assert page.status_code == 200
    assert page.content_type == "text/plain; charset=utf-8"
    assert "quire login" in page.text
    assert harness.app.test_client().head("/enrol").status_code == 200
    # A browser gets the page, which asks before it redeems anything.
    view = harness.app.test_client().get("/enrol", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (view.status_code, view.mimetype) == (200, "text/html")
    assert "default-src 'none'" in view.headers["Content-Security-Policy"]
    assert view.headers["Vary"] == page.headers["Vary"] == "Accept"
    # A chat that fetches what it was sent sends no fragment. Whatever it sends redeems nothing.
    problem(harness.app.test_client().get(f"/enrol?token={token_of(made)}"), 422)
    problem(harness.app.test_client().get("/v1/enrol"), 405)
    assert admin.items("/v1/users/ann/enrolments")[0]["state"] == "open"
    assert redeem(harness, token_of(made)).status_code == 201


def ended(harness: ApiHarness, admin: Person, how: str) -> str:
    """Make an enrolment that ended so; return its token."""
    made = enrol(admin)
    if how == "used":
        assert redeem(harness, token_of(made)).status_code == 201
    elif how == "revoked":
        assert admin.delete(f"/v1/enrolments/{made['id']}").status_code == 204
        assert admin.delete(f"/v1/enrolments/{made['id']}").status_code == 204
    else:
        with make_sessions(harness.engine).begin() as session:
            row = session.get_one(Enrolment, made["id"])
            row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    return token_of(made)


@pytest.mark.parametrize("how", ["used", "expired", "revoked"])
def test_a_link_that_has_ended_says_how(
    harness: ApiHarness, ann: Person, admin: Person, how: str
) -> None:
    token = ended(harness, admin, how)
    keys = len(ann.items("/v1/users/ann/keys"))
    body = problem(redeem(harness, token), 410)
    assert body["type"] == f"/problems/enrolment-{how}"
    assert f"{how} at 2" in body["detail"]
    # Whoever only has the prefix learns nothing.
    guess = token[:-1] + ("0" if token[-1] != "0" else "1")
    unknown = problem(redeem(harness, NOBODY), 404)
    assert unknown["type"] == "/problems/enrolment-unknown"
    assert problem(redeem(harness, guess), 404) == unknown
    assert len(ann.items("/v1/users/ann/keys")) == keys


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "quire_enrol_short"}, 404),
        ({"token": "nonsense"}, 404),
        ({"token": ""}, 422),
        ({"token": "x" * 300}, 422),
        ({"token": 7}, 422),
        ({}, 422),
        ({"token": NOBODY, "name": ""}, 422),
        ({"token": NOBODY, "name": "a\nb"}, 422),
        ({"token": NOBODY, "key": "x"}, 422),
    ],
)
def test_what_is_no_token_redeems_nothing(harness: ApiHarness, body: Any, status: int) -> None:
    problem(harness.app.test_client().post("/v1/enrol", json=body), status)


def test_of_two_at_once_one_gets_the_key(harness: ApiHarness, ann: Person, admin: Person) -> None:
    token = token_of(enrol(admin))
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: redeem(harness, token), range(8)))
    assert sorted(reply.status_code for reply in replies) == [201] + [410] * 7
    assert len(ann.items("/v1/users/ann/keys")) == 2


def test_a_link_stays_open_if_no_key_can_be_made(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    token = token_of(enrol(admin))
    while ann.post("/v1/users/ann/keys", {}).status_code == 201:
        pass
    body = problem(redeem(harness, token), 403)
    assert body["type"] == "/problems/too-many-keys"
    with make_sessions(harness.engine).begin() as session:
        for key in session.query(ApiKey).where(ApiKey.name == "default").limit(3):
            if key.prefix != ann.key.split("_")[1] and key.prefix != admin.key.split("_")[1]:
                key.revoked_at = datetime.now(UTC)
    assert redeem(harness, token).status_code == 201


def test_a_disabled_user_is_told_so(harness: ApiHarness, ann: Person, admin: Person) -> None:
    token = token_of(enrol(admin))
    admin.patch("/v1/users/ann", {"disabled": True})
    assert "disabled" in problem(redeem(harness, token), 403)["detail"]
    admin.patch("/v1/users/ann", {"disabled": False})
    assert redeem(harness, token).status_code == 201


def test_only_admins_enrol(harness: ApiHarness, ann: Person, bob: Person, admin: Person) -> None:
    made = enrol(admin)
    for name in ("ann", "bob", "nobody"):
        problem(ann.post(f"/v1/users/{name}/enrolments", {}), 403)
        problem(ann.get(f"/v1/users/{name}/enrolments"), 403)
    missing = "01890a5d-ac96-774b-bcce-b302099a8057"
    refused = [problem(ann.delete(f"/v1/enrolments/{each}"), 403) for each in (made["id"], missing)]
    assert refused[0] == refused[1]
    problem(admin.delete(f"/v1/enrolments/{missing}"), 404)
    problem(admin.post("/v1/users/nobody/enrolments", {}), 404)
    assert admin.items("/v1/users/ann/enrolments")[0]["state"] == "open"


def test_a_link_has_the_scopes_and_the_end_that_it_was_given(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = enrol(admin, scopes=["submit", "read"], expires_at=tomorrow)
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(tomorrow)
    assert redeem(harness, token_of(made)).json["scopes"] == ["read", "submit"]
    assert enrol(admin)["scopes"] == ["read", "submit", "manage"]
    assert (
        "ann is a member"
        in problem(admin.post("/v1/users/ann/enrolments", {"scopes": ["admin"]}), 422)["detail"]
    )


def test_a_repeated_request_makes_no_second_link(ann: Person, admin: Person) -> None:
    headers = {"Idempotency-Key": "once"}
    first = admin.post("/v1/users/ann/enrolments", {}, headers=headers).json
    again = admin.post("/v1/users/ann/enrolments", {}, headers=headers).json
    assert first["link"]
    assert again == first | {"link": None}
    assert len(admin.items("/v1/users/ann/enrolments")) == 1


def test_a_role_that_was_taken_away_takes_its_scopes_along(
    harness: ApiHarness, admin: Person
) -> None:
    with make_sessions(harness.engine).begin() as session:
        eve = create_user(session, "eve", "admin")
    token = token_of(enrol(admin, "eve"))
    with make_sessions(harness.engine).begin() as session:
        session.merge(eve).role = "member"
    assert redeem(harness, token).json["scopes"] == ["read", "submit", "manage"]


def test_who_redeems_too_often_has_to_wait(harness: ApiHarness, ann: Person) -> None:
    """Nobody is signed in, so that the address has the bucket."""
    limit = harness.app.extensions["quire"].settings.creations_per_minute
    # The bucket fills a little while it is emptied.
    replies = (redeem(harness, NOBODY) for _ in range(3 * limit))
    refused = next(reply for reply in replies if reply.status_code != 404)
    problem(refused, 429)
    assert int(refused.headers["Retry-After"]) >= 1
    client = harness.app.test_client()
    other = client.post(
        "/v1/enrol", json={"token": NOBODY}, environ_base={"REMOTE_ADDR": "10.0.0.9"}
    )
    problem(other, 404)
    assert ann.get("/v1/me").status_code == 200
