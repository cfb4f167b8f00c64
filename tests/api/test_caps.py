"""Caps: the refusal of a request beyond one, and the usage that shows them."""

from datetime import UTC, datetime

import pytest

from shared.scheduling.accounting import Ledger
from tests.api.harness import ENGLISH, ApiHarness, Person, problem


def charge(harness: ApiHarness, person: Person, seconds: float) -> None:
    """Charge a user device time today."""
    now = datetime.now(UTC)
    ledger = Ledger()
    user_id = person.get("/v1/me").json["id"]
    ledger.settle(user_id, 0.0, seconds, now, now)
    with harness.engine.begin() as connection:
        ledger.post(connection, 86_400, now)


def test_a_full_queue_returns_retry_after(ann: Person, admin: Person) -> None:
    corpus = ann.upload()
    admin.patch("/v1/usage/ann", {"max_queued": 1})
    ann.train(corpus)
    refused = ann.post("/v1/train", {"corpus": corpus})
    assert problem(refused, 429)["type"] == "/problems/queue-full"
    assert int(refused.headers["Retry-After"]) > 0


def test_the_daily_cap_resets_at_midnight(harness: ApiHarness, ann: Person, admin: Person) -> None:
    corpus = ann.upload()
    admin.patch("/v1/usage/ann", {"max_device_seconds_per_day": 100})
    charge(harness, ann, 150)
    refused = ann.post("/v1/train", {"corpus": corpus})
    told = problem(refused, 429)
    assert told["type"] == "/problems/day-used-up"
    assert "used 150 of 100 device-seconds today" in told["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 3600


def test_corpora_beyond_the_cap_are_refused(ann: Person, admin: Person) -> None:
    ann.upload()
    admin.patch("/v1/usage/ann", {"max_corpora_bytes": len(ENGLISH) + 10})
    refused = ann.post("/v1/corpora", {"name": "more", "text": ENGLISH})
    told = problem(refused, 403)
    assert told["type"] == "/problems/corpora-full"
    assert "delete corpora" in told["detail"]
    assert "Retry-After" not in refused.headers
    assert ann.post("/v1/corpora", {"name": "little", "text": "1234"}).status_code == 201


def test_storage_beyond_the_cap_is_refused(harness: ApiHarness, ann: Person, admin: Person) -> None:
    model = harness.model(ann)
    stored = ann.get("/v1/usage").json["stored_bytes"]["used"]
    assert stored > len(ENGLISH)
    admin.patch("/v1/usage/ann", {"max_stored_bytes": int(stored)})
    refused = ann.post("/v1/train", {"corpus": model["corpus"]})
    assert problem(refused, 403)["type"] == "/problems/storage-full"
    problem(ann.post("/v1/corpora", {"name": "more", "text": "x"}), 403)
    text = ann.post("/v1/generate", {"model": model["id"]})
    assert text.status_code == 202
    ann.post(f"/v1/jobs/{text.json['id']}/cancel")
    assert ann.delete(f"/v1/models/{model['id']}?purge=true").status_code == 204
    assert ann.post("/v1/corpora", {"name": "more", "text": "x"}).status_code == 201


def test_usage_shows_share_usage_and_caps(harness: ApiHarness, ann: Person, bob: Person) -> None:
    corpus = ann.upload()
    ann.train(corpus)
    harness.claim(ann.train(corpus)["id"])
    charge(harness, ann, 30)
    charge(harness, bob, 30)
    usage = ann.get("/v1/usage").json
    assert (usage["user"], usage["share"]) == ("ann", 1.0)
    assert usage["running"] == {"used": 2, "cap": 100, "own": False}
    assert usage["queued"] == {"used": 0, "cap": 12, "own": False}
    assert usage["device_seconds_today"]["cap"] is None
    assert usage["device_seconds_today"]["used"] == pytest.approx(630, abs=5)
    assert usage["corpora_bytes"]["used"] == len(ENGLISH)
    assert usage["share_served"] == pytest.approx(630 / 660, abs=0.01)
    assert usage["day_ends_at"].endswith("T00:00:00Z")


def test_only_admins_see_and_set_the_caps_of_others(
    ann: Person, bob: Person, admin: Person
) -> None:
    me = ann.get("/v1/me").json
    assert ann.get("/v1/usage/ann").json == ann.get(f"/v1/usage/{me['id']}").json
    problem(bob.get("/v1/usage/ann"), 403)
    problem(bob.get("/v1/usage/nobody"), 403)
    problem(ann.patch("/v1/usage/ann", {"share": 9.0}), 403)
    changed = admin.patch("/v1/usage/ann", {"share": 2.5, "max_running": 4}).json
    assert (changed["share"], changed["running"]["cap"], changed["running"]["own"]) == (
        2.5,
        4,
        True,
    )
    back = admin.patch("/v1/usage/ann", {"max_running": None}).json
    assert back["share"] == 2.5
    assert back["running"] == {"used": 0, "cap": 100, "own": False}
    problem(admin.get("/v1/usage/nobody"), 404)
    problem(admin.patch("/v1/usage/nobody", {"share": 1.0}), 404)
    for wrong in ({}, {"share": 0}, {"max_running": -1}, {"max_queued": 1.5}, {"role": "admin"}):
        problem(admin.patch("/v1/usage/ann", wrong), 422)
