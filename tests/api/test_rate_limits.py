"""Rate limits, and caps on the numbers of keys, corpora and models."""

import re
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from api.token_buckets import TokenBuckets
from shared.settings import Settings
from tests.api.harness import ApiHarness, Person, problem

CREATIONS = 6
REQUESTS = 40


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {
        "creations_per_minute": CREATIONS,
        "requests_per_minute": REQUESTS,
        "max_keys_per_user": 3,
        "max_corpora_per_user": 2,
        "max_models_per_user": 2,
        "max_shares_per_user": 2,
    }
    return settings.model_copy(update=limits)


def refusal(send: Callable[[], TestResponse], tries: int) -> tuple[int, TestResponse]:
    """Send until the rate limit refuses; return the number of answers before, and the refusal."""
    for count in range(tries):
        answer = send()
        if answer.status_code == 429:
            return count, answer
    raise AssertionError(f"{tries} requests were answered")


def test_requests_that_create_have_a_limit_of_their_own(ann: Person, bob: Person) -> None:
    count, refused = refusal(lambda: ann.post("/v1/corpora", {"name": "x", "text": ""}), 20)
    assert count == CREATIONS
    told = problem(refused, 429)
    assert told["type"] == "/problems/too-many-requests"
    assert "6 POST requests that create in a minute" in told["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 10
    policy, level = refused.headers["RateLimit-Policy"], refused.headers["RateLimit"]
    assert policy == f'"requests";q={REQUESTS};w=60, "creations";q={CREATIONS};w=60'
    assert re.fullmatch(r'"requests";r=\d+;t=\d+, "creations";r=0;t=\d+', level)
    for path in ("/v1/users/ann/keys", "/v1/train", "/v1/users"):
        problem(ann.post(path, {}), 429)
    assert ann.get("/v1/me").status_code == 200
    problem(ann.post("/v1/generate", {}), 422)
    assert bob.upload()


def test_a_new_key_brings_no_new_bucket(harness: ApiHarness, ann: Person) -> None:
    second = ann.post("/v1/users/ann/keys", {}).json["key"]
    other = Person(harness.app.test_client(), "ann", second)
    count, _ = refusal(lambda: other.post("/v1/corpora", {"name": "x", "text": ""}), 20)
    assert count == CREATIONS - 1


def test_all_requests_have_a_wider_limit(ann: Person, bob: Person) -> None:
    first = ann.get("/v1/me").headers
    assert first["RateLimit-Policy"] == f'"requests";q={REQUESTS};w=60'
    assert re.fullmatch(rf'"requests";r={REQUESTS - 1};t=[12]', first["RateLimit"])
    count, refused = refusal(lambda: ann.get("/v1/jobs"), 3 * REQUESTS)
    assert count >= REQUESTS - 1
    assert f"{REQUESTS} requests in a minute" in problem(refused, 429)["detail"]
    assert bob.get("/v1/me").status_code == 200


def test_a_bucket_refills_steadily() -> None:
    buckets = TokenBuckets("requests", 60)
    assert [buckets.take("ann", 0.0).remaining for _ in range(60)] == list(range(59, -1, -1))
    assert buckets.take("ann", 0.0).wait_seconds == pytest.approx(1.0)
    assert buckets.take("bob", 0.0).remaining == 59
    assert buckets.take("ann", 0.5).wait_seconds == pytest.approx(0.5)
    assert [buckets.take("ann", 1.0).wait_seconds for _ in range(2)] == [None, pytest.approx(1.0)]
    assert buckets.take("ann", 1000.0).remaining == 59


def test_keys_beyond_the_cap_are_refused(ann: Person) -> None:
    second = ann.post("/v1/users/ann/keys", {}).json
    assert ann.post("/v1/users/ann/keys", {}).status_code == 201
    told = problem(ann.post("/v1/users/ann/keys", {}), 403)
    assert told["type"] == "/problems/too-many-keys"
    assert "you have 3 keys, and one user may have 3 (QUIRE_MAX_KEYS_PER_USER)" in told["detail"]
    ann.delete(f"/v1/keys/{second['id']}")
    assert ann.get("/v1/usage").json["keys"] == {"used": 2, "cap": 3, "own": False}
    assert ann.post("/v1/users/ann/keys", {}).status_code == 201


def test_corpora_and_models_beyond_the_cap_are_refused(harness: ApiHarness, ann: Person) -> None:
    corpus, second = ann.upload(), ann.upload(name="second")
    told = problem(ann.post("/v1/corpora", {"name": "third", "text": "abc"}), 403)
    assert told["type"] == "/problems/too-many-corpora"
    usage = ann.get("/v1/usage").json
    assert usage["corpora"] == {"used": 2, "cap": 2, "own": False}
    ann.train(corpus)
    ann.train(corpus)
    told = problem(ann.post("/v1/train", {"corpus": corpus}), 403)
    assert told["type"] == "/problems/too-many-models"
    assert ann.get("/v1/usage").json["models"]["used"] == 2
    assert len(ann.items("/v1/models")) == 2
    assert ann.delete(f"/v1/corpora/{second}").status_code == 204


def test_strangers_with_a_share_link_have_a_bucket_by_address(
    harness: ApiHarness, ann: Person
) -> None:
    job = ann.train(ann.upload())
    token = ann.post("/v1/shares", {"job": job["id"]}).json["token"]
    client = harness.app.test_client()
    count, refused = refusal(lambda: client.get(f"/v1/shared/{token}"), 2 * REQUESTS)
    assert count == REQUESTS
    problem(refused, 429)
    problem(client.get(f"/v1/shared/{token}/texts"), 429)
    elsewhere = {"REMOTE_ADDR": "203.0.113.7"}
    assert client.get(f"/v1/shared/{token}", environ_base=elsewhere).status_code == 200
    assert ann.get("/v1/me").status_code == 200, "its owner's bucket is another one"


def test_a_user_has_so_many_share_links_at_most(harness: ApiHarness, ann: Person) -> None:
    job = ann.train(ann.upload())
    first, _ = (ann.post("/v1/shares", {"job": job["id"]}).json for _ in range(2))
    refused = problem(ann.post("/v1/shares", {"job": job["id"]}), 403)
    assert refused["type"] == "/problems/too-many-shares"
    assert "revoke shares" in refused["detail"]
    assert ann.delete(f"/v1/shares/{first['id']}").status_code == 204
    assert ann.post("/v1/shares", {"job": job["id"]}).status_code == 201
