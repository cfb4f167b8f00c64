"""Keys that expire, and when keys were last used."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.services import EXTENSION
from api.traces.deferred import Deferred
from shared.accounts import create_key
from shared.database import make_sessions
from shared.tables import ApiKey, User
from tests.api.harness import ApiHarness, Person, expire, problem


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_an_expired_key_has_an_answer_of_its_own(harness: ApiHarness, ann: Person) -> None:
    made = ann.post("/v1/users/ann/keys", {"expires_at": in_seconds(3600)}).json
    person = Person(harness.app.test_client(), "ann", made["key"])
    assert person.get("/v1/me").json["key"]["expires_at"] == made["expires_at"]
    moment = expire(harness, person)
    answer = person.get("/v1/me")
    body = problem(answer, 401)
    assert body["type"] == "/problems/key-expired"
    assert f"expired at {moment:%Y-%m-%dT%H:%M:%SZ}" in body["detail"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    listed = {key["prefix"]: key["expires_at"] for key in ann.items("/v1/users/ann/keys")}
    assert datetime.fromisoformat(listed[made["prefix"]]) == moment


def test_only_the_right_secret_learns_that_a_key_has_expired(
    harness: ApiHarness, ann: Person
) -> None:
    expire(harness, ann)
    guess = ann.key[:-1] + ("0" if ann.key[-1] != "0" else "1")
    unknown = Person(harness.app.test_client(), "x", f"quire_00000000_{'0' * 64}").get("/v1/me")
    guessed = Person(harness.app.test_client(), "x", guess).get("/v1/me")
    assert problem(guessed, 401) == problem(unknown, 401)
    assert guessed.headers["WWW-Authenticate"] == unknown.headers["WWW-Authenticate"]


def test_a_revoked_key_that_has_expired_is_a_revoked_one(harness: ApiHarness, ann: Person) -> None:
    other = ann.post("/v1/users/ann/keys", {"expires_at": in_seconds(3600)}).json
    person = Person(harness.app.test_client(), "ann", other["key"])
    assert ann.delete(f"/v1/keys/{other['prefix']}").status_code == 204
    expire(harness, person)
    assert problem(person.get("/v1/me"), 401)["type"] == "/problems/not-signed-in"


@pytest.mark.parametrize("expires_at", ["2020-01-01T00:00:00Z", "tomorrow", "2999-01-01", 7, True])
def test_an_expiry_that_can_not_be_is_refused(ann: Person, admin: Person, expires_at: Any) -> None:
    for person, path in ((ann, "/v1/users/ann/keys"), (admin, "/v1/users/ann/enrolments")):
        body = problem(person.post(path, {"expires_at": expires_at}), 422)
        assert body["errors"][0]["field"] == "expires_at"
        assert str(expires_at)[:4] in json.dumps(body["errors"][0]["value"]) or expires_at is True


def test_a_key_that_expires_makes_none_that_outlives_it(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    made = ann.post("/v1/users/ann/keys", {"expires_at": in_seconds(3600)}).json
    brief = Person(harness.app.test_client(), "ann", made["key"])
    assert brief.post("/v1/users/ann/keys", {}).json["expires_at"] == made["expires_at"]
    sooner = in_seconds(60)
    next_made = brief.post("/v1/users/ann/keys", {"expires_at": sooner}).json
    assert datetime.fromisoformat(next_made["expires_at"]) == datetime.fromisoformat(sooner)
    body = problem(brief.post("/v1/users/ann/keys", {"expires_at": in_seconds(7200)}), 422)
    assert made["expires_at"][:16] in body["detail"]
    own = admin.post("/v1/users/root/keys", {"expires_at": in_seconds(3600)}).json
    helper = Person(harness.app.test_client(), "root", own["key"])
    assert helper.post("/v1/users/ann/keys", {}).json["expires_at"] is None


def test_expired_keys_do_not_count_against_the_cap(harness: ApiHarness, ann: Person) -> None:
    before = ann.get("/v1/usage").json["keys"]["used"]
    made = ann.post("/v1/users/ann/keys", {"expires_at": in_seconds(3600)}).json
    assert ann.get("/v1/usage").json["keys"]["used"] == before + 1
    expire(harness, Person(harness.app.test_client(), "ann", made["key"]))
    assert ann.get("/v1/usage").json["keys"]["used"] == before


def last_used(person: Person) -> str | None:
    found: str | None = person.items(f"/v1/users/{person.name}/keys")[-1]["last_used_at"]
    return found


def test_a_keys_use_is_told_soon_and_written_once_a_minute(
    harness: ApiHarness, ann: Person
) -> None:
    asked_at = datetime.now(UTC)
    deadline = time.monotonic() + 30
    while (first := last_used(ann)) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert first is not None
    assert abs(datetime.fromisoformat(first) - asked_at) < timedelta(minutes=1)
    uses = harness.app.extensions[EXTENSION].key_uses
    for _ in range(3):
        ann.get("/v1/me")
        uses.write()
        assert last_used(ann) == first


def test_a_use_that_another_process_has_written_is_not_written_again(
    harness: ApiHarness, ann: Person
) -> None:
    uses = harness.app.extensions[EXTENSION].key_uses
    ann.get("/v1/me")
    uses.write()
    first = last_used(ann)
    assert first is not None
    key_id = ann.get("/v1/me").json["key"]["id"]
    # A minute later by this process's clock; the row says that a minute has not passed.
    uses.note(key_id, now=time.monotonic() + 61)
    uses.write()
    assert last_used(ann) == first
    with make_sessions(harness.engine).begin() as session:
        row = session.get_one(ApiKey, key_id)
        assert row.last_used_at is not None
        row.last_used_at -= timedelta(seconds=90)
    uses.note(key_id, now=time.monotonic() + 200)
    uses.write()
    assert last_used(ann) != first


def test_a_key_that_was_never_used_says_so(harness: ApiHarness, ann: Person) -> None:
    with make_sessions(harness.engine).begin() as session:
        create_key(session, session.query(User).filter_by(name="ann").one(), "spare")
    assert ann.items("/v1/users/ann/keys")[0]["last_used_at"] is None


def test_a_failure_is_logged_and_does_not_stop_later_calls() -> None:
    called = threading.Event()

    def fail() -> None:
        called.set()
        raise RuntimeError("no")

    deferred = Deferred(fail, 0.01)
    with capture_logs() as log:
        for _ in range(2):
            called.clear()
            deferred.schedule()
            assert called.wait(30)
        deferred.close()
    assert [line["event"] for line in log] == ["periodic_task_failed"] * 2


def test_what_is_put_off_is_done_once_and_not_after_the_end() -> None:
    called: list[float] = []

    def call() -> None:
        called.append(time.monotonic())
        time.sleep(0.2)

    began = time.monotonic()
    deferred = Deferred(call, 0.1)
    for _ in range(5):
        deferred.schedule()
    while not called:
        time.sleep(0.01)
    # It is being made: what comes now waits for the next call.
    deferred.schedule()
    deferred.close()
    assert len(called) == 2
    assert called[0] - began >= 0.1
    deferred.schedule()
    deferred.close()
    time.sleep(0.2)
    assert len(called) == 2
