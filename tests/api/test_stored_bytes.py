"""Bytes that nobody needs: what a refusal or a deletion leaves goes at once."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import event, func, select

from shared import blobs
from shared.tables import Blob, BlobChunk
from tests.api.harness import ENGLISH, ApiHarness, Person, problem, safetensors

KEY = {"Idempotency-Key": "once"}


def stored_blobs(harness: ApiHarness) -> int:
    """Count the blobs; no piece may be left without its blob."""
    with harness.engine.connect() as connection:
        owners = connection.scalar(select(func.count(BlobChunk.sha256.distinct())))
        assert owners == connection.scalar(select(func.count()).select_from(Blob))
    return owners or 0


def test_caps_are_checked_before_a_byte_is_stored(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    inserted = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT INTO blob"):
            inserted.append(statement)

    event.listen(harness.engine, "before_cursor_execute", note)
    for cap, slug in (("max_corpora_bytes", "corpora-full"), ("max_stored_bytes", "storage-full")):
        admin.patch("/v1/usage/ann", {"max_corpora_bytes": None, cap: 0})
        told = problem(ann.post("/v1/corpora", {"name": "x", "text": ENGLISH}), 403)
        assert told["type"] == f"/problems/{slug}"
    assert inserted == []
    assert stored_blobs(harness) == 0


def test_uploads_that_race_to_a_cap_leave_nothing(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    admin.patch("/v1/usage/ann", {"max_corpora_bytes": len(ENGLISH) + 10})
    people = [Person(harness.app.test_client(), "ann", ann.key) for _ in range(4)]

    def upload(number: int) -> int:
        body = {"name": "x", "text": f"{ENGLISH}{number}"}
        return people[number].post("/v1/corpora", body).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(upload, range(4))) == [201, 403, 403, 403]
    assert stored_blobs(harness) == 1


def test_another_request_of_the_same_idempotency_key_leaves_nothing(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    body = {"name": "x", "text": ENGLISH}
    first = ann.post("/v1/corpora", body, headers=KEY)
    problem(ann.post("/v1/corpora", body | {"text": "another"}, headers=KEY), 409)
    assert stored_blobs(harness) == 1
    # A repeated request creates nothing, so that no cap refuses it.
    admin.patch("/v1/usage/ann", {"max_corpora_bytes": 0})
    again = ann.post("/v1/corpora", body, headers=KEY)
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_the_bytes_of_a_purged_corpus_go_with_the_last_one(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    mine, theirs = ann.upload(), bob.upload()
    assert stored_blobs(harness) == 1
    ann.delete(f"/v1/corpora/{mine}?purge=true")
    assert bob.get(f"/v1/corpora/{theirs}/text").get_data(as_text=True) == ENGLISH
    bob.delete(f"/v1/corpora/{theirs}?purge=true")
    assert stored_blobs(harness) == 0


def test_the_bytes_of_a_purged_model_go_at_once(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)
    assert stored_blobs(harness) == 2
    assert ann.delete(f"/v1/models/{model['id']}?purge=true").status_code == 204
    assert stored_blobs(harness) == 1


def test_bytes_that_a_worker_stores_again_stay(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)
    sha256 = blobs.store(harness.engine, safetensors(100))
    ann.delete(f"/v1/models/{model['id']}?purge=true")
    assert blobs.load(harness.engine, sha256) == safetensors(100)


def test_the_same_text_uploaded_and_deleted_by_many_at_once(harness: ApiHarness) -> None:
    text = ENGLISH * 300
    people = [harness.person(f"user{number}") for number in range(4)]

    def upload_and_delete(person: Person) -> None:
        for _ in range(3):
            corpus = person.upload(text)
            assert person.get(f"/v1/corpora/{corpus}/text").get_data(as_text=True) == text
            assert person.delete(f"/v1/corpora/{corpus}?purge=true").status_code == 204

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upload_and_delete, people))
