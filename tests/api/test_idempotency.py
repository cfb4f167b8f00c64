"""Idempotency keys: repeating a POST creates one resource."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select, update

from shared.clock import database_now
from shared.database import make_sessions
from shared.tables import ApiKey, IdempotencyKey, Job, User
from tests.api.harness import ENGLISH, ApiHarness, Person, assert_succeeded, problem

THREADS = 8


def once(person: Person, path: str, key: str, **options: Any) -> Any:
    return person.send("POST", path, headers={"Idempotency-Key": key}, **options)


def rows(harness: ApiHarness, table: type) -> int:
    with make_sessions(harness.engine)() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_every_creating_post_creates_once(harness: ApiHarness, admin: Person) -> None:
    model = harness.model(admin)
    corpus = model["corpus"]
    writing = {"model": model["id"]}
    requests: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("/v1/corpora", {"json": {"name": "a", "text": "b"}}, {"json": {"name": "a", "text": "c"}}),
        (
            "/v1/corpora",
            {"data": b"raw", "content_type": "text/plain"},
            {"data": b"other", "content_type": "text/plain"},
        ),
        ("/v1/train", {"json": {"corpus": corpus}}, {"json": {"corpus": corpus, "epochs": 2}}),
        ("/v1/generate", {"json": writing}, {"json": writing | {"n": 2}}),
        (f"/v1/jobs/{model['job']}/rerun", {}, {}),
        ("/v1/users", {"json": {"name": "eve"}}, {"json": {"name": "eva"}}),
    ]
    for number, (path, same, other) in enumerate(requests):
        first = once(admin, path, f"key-{number}", **same)
        assert_succeeded(first)
        second = once(admin, path, f"key-{number}", **same)
        assert second.status_code == first.status_code
        assert second.json == first.json
        assert second.headers.get("Location") == first.headers.get("Location")
        assert "Idempotency-Replayed" not in first.headers
        assert second.headers["Idempotency-Replayed"] == "true"
        if other:
            problem(once(admin, path, f"key-{number}", **other), 409)
        without = admin.send("POST", path, **same)
        assert without.status_code == (409 if path == "/v1/users" else first.status_code)
    problem(once(admin, "/v1/users", "key-0", json={"name": "x"}), 409)


def test_the_order_of_fields_does_not_matter(harness: ApiHarness, ann: Person) -> None:
    corpus = ann.upload()
    first = once(ann, "/v1/train", "k", json={"corpus": corpus, "epochs": 2, "seed": 1})
    second = once(ann, "/v1/train", "k", json={"seed": 1, "epochs": 2, "corpus": corpus})
    assert second.json == first.json


def test_forms_are_compared_by_file_and_fields(ann: Person) -> None:
    def upload(data: bytes, **fields: str) -> Any:
        form = {"file": (io.BytesIO(data), "a.txt"), **fields}
        return once(ann, "/v1/corpora", "k", data=form)

    assert upload(b"abc").json == upload(b"abc").json
    problem(upload(b"abd"), 409)
    problem(upload(b"abc", name="b"), 409)


def test_an_api_key_is_shown_once_and_stored_nowhere(harness: ApiHarness, ann: Person) -> None:
    first = once(ann, "/v1/users/ann/keys", "k", json={"name": "laptop"})
    assert first.status_code == 201
    assert first.json["key"].startswith(f"quire_{first.json['prefix']}_")
    second = once(ann, "/v1/users/ann/keys", "k", json={"name": "laptop"})
    assert second.json == first.json | {"key": None}
    assert rows(harness, ApiKey) == 2
    secret = first.json["key"].rpartition("_")[2]
    with make_sessions(harness.engine)() as session:
        assert secret not in str(session.scalars(select(IdempotencyKey.body)).all())


def test_eight_concurrent_requests_create_one_job_and_all_get_it(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload(ENGLISH)
    before = rows(harness, Job)
    barrier = Barrier(THREADS)

    def submit(_number: int) -> Any:
        person = Person(harness.app.test_client(), "ann", ann.key)
        barrier.wait()
        return once(person, "/v1/train", "together", json={"corpus": corpus})

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(submit, range(THREADS)))
    assert [answer.status_code for answer in answers] == [202] * THREADS
    assert len({answer.json["id"] for answer in answers}) == 1
    replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
    assert sorted(replayed, key=str) == [None] + ["true"] * (THREADS - 1)
    assert rows(harness, Job) == before + 1


def test_one_of_two_different_concurrent_bodies_is_refused(
    harness: ApiHarness, ann: Person
) -> None:
    corpus = ann.upload(ENGLISH)
    barrier = Barrier(2)

    def submit(epochs: int) -> int:
        person = Person(harness.app.test_client(), "ann", ann.key)
        barrier.wait()
        body = {"corpus": corpus, "epochs": epochs}
        return int(once(person, "/v1/train", "k", json=body).status_code)

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(submit, (1, 2))) == [202, 409]


def test_a_refused_request_does_not_store_its_key(ann: Person) -> None:
    corpus = ann.upload("too short")
    problem(once(ann, "/v1/train", "k", json={"corpus": corpus}), 422)
    assert_succeeded(once(ann, "/v1/train", "k", json={"corpus": ann.upload()}))


def test_keys_belong_to_one_user(ann: Person, bob: Person) -> None:
    body = {"name": "a", "text": "b"}
    first, second = (once(person, "/v1/corpora", "k", json=body) for person in (ann, bob))
    assert first.json["id"] != second.json["id"]
    assert "Idempotency-Replayed" not in second.headers


def test_a_key_expires_after_a_day(harness: ApiHarness, ann: Person) -> None:
    body = {"name": "a", "text": "b"}
    first = once(ann, "/v1/corpora", "k", json=body)
    with make_sessions(harness.engine).begin() as session:
        old = database_now(session.connection()) - timedelta(hours=25)
        session.execute(update(IdempotencyKey).values(created_at=old))
    assert once(ann, "/v1/corpora", "k", json=body).json["id"] != first.json["id"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "\u00e9"])
def test_a_malformed_key_is_refused(ann: Person, key: str) -> None:
    answer = once(ann, "/v1/corpora", key, json={"name": "a", "text": "b"})
    assert problem(answer, 422)["errors"][0]["field"] == "Idempotency-Key"
    assert ann.items("/v1/corpora") == []


def test_two_concurrent_users_can_not_take_one_name(harness: ApiHarness, admin: Person) -> None:
    barrier = Barrier(THREADS)

    def add(_number: int) -> int:
        person = Person(harness.app.test_client(), "root", admin.key)
        barrier.wait()
        return int(person.post("/v1/users", {"name": "same"}).status_code)

    with ThreadPoolExecutor(THREADS) as threads:
        assert sorted(threads.map(add, range(THREADS))) == [201] + [409] * (THREADS - 1)
    assert rows(harness, User) == 2
