"""A deleted model or corpus is missing to everybody, and its owner can restore it for a while."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.clock import database_now
from shared.queue.maintenance.deleted import purge_deleted
from shared.tables import Blob, Corpus, Model
from tests.api.harness import ApiHarness, Person, problem, safetensors
from tests.api.privacy_walk import UNKNOWN_ID, Answer, operations

DAYS = 7.0


def age(harness: ApiHarness, days: float) -> None:
    """Let everything that is deleted be deleted so much earlier."""
    with harness.engine.begin() as connection:
        moment = database_now(connection) - timedelta(days=days)
        for table in (Corpus, Model):
            deleted = table.deleted_at.is_not(None)
            connection.execute(update(table).where(deleted).values(deleted_at=moment))


def stored_blobs(harness: ApiHarness) -> int:
    with harness.engine.connect() as connection:
        return len(connection.scalars(select(Blob.sha256)).all())


def test_a_deleted_model_can_be_had_back_as_it_was(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann, name="muse", visibility="server")
    job = ann.post("/v1/generate", {"model": model["id"]}).json
    harness.write(job)
    path = f"/v1/models/{model['id']}"
    texts = ann.get(f"/v1/jobs/{job['id']}").json["texts"]
    assert ann.delete(path).status_code == 204
    [deleted] = ann.items("/v1/models?deleted=true")
    assert deleted["id"] == model["id"]
    assert deleted["deleted_at"] < deleted["purge_at"]
    assert ann.items("/v1/models") == bob.items("/v1/models") == []
    assert bob.items("/v1/models?deleted=true") == []
    # Its name is free meanwhile, and is in nobody's way later.
    other = harness.model(ann, model["corpus"], name="muse")
    restored = ann.post(f"{path}/restore")
    assert (restored.status_code, restored.json) == (200, model)
    assert bob.get(path).json["name"] == "muse"
    assert [each["id"] for each in ann.items("/v1/models?name=muse")] == [other["id"], model["id"]]
    assert ann.items("/v1/models?deleted=true") == []
    assert ann.get(f"/v1/jobs/{job['id']}").json["texts"] == texts
    file = ann.get(f"/v1/checkpoints/{model['checkpoints']['best']}/download")
    assert file.get_data() == safetensors(100)
    # What is not deleted stays as it is.
    assert ann.post(f"{path}/restore").json == model
    assert ann.post("/v1/generate", {"model": model["id"]}).status_code == 202


def test_a_deleted_corpus_can_be_had_back_as_it_was(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server", name="diary")
    path = f"/v1/corpora/{corpus}"
    before = ann.get(path).json
    text = ann.get(f"{path}/text").get_data()
    assert ann.delete(path).status_code == 204
    assert bob.items("/v1/corpora") == []
    [deleted] = ann.items("/v1/corpora?deleted=true&name=diary")
    assert deleted["purge_at"] > deleted["deleted_at"]
    assert {**deleted, "visibility": "server"} == {
        **before,
        **{name: deleted[name] for name in ("deleted_at", "purge_at")},
    }
    # A text that is uploaded again is a corpus of its own, and not the deleted one.
    again = ann.upload(name="diary")
    assert again != corpus
    assert ann.post(f"{path}/restore").json == before
    assert bob.get(f"{path}/text").get_data() == text
    assert ann.post(f"{path}/restore").json == before


def test_what_is_deleted_answers_like_what_is_missing(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    """To its owner too, and in every place where a request can name it."""
    model = harness.model(ann, visibility="server")
    checkpoint = model["checkpoints"]["best"]
    spare = ann.upload(visibility="server", name="spare")
    written = ann.post("/v1/generate", {"model": model["id"]}).json
    harness.write(written)
    other = harness.model(ann, name="other")
    assert ann.delete(f"/v1/models/{model['id']}").status_code == 204
    assert ann.delete(f"/v1/corpora/{spare}").status_code == 204
    gone = {"model": model["id"], "checkpoint": checkpoint, "corpus": spare}
    own = {"model": other["id"], "corpus": other["corpus"], "checkpoint": UNKNOWN_ID}
    own |= {"job": written["id"], "user": "ann"}
    compared = 0
    for operation in operations(ann.get("/openapi.json").json):
        if operation.path.endswith("/restore"):
            continue
        for slot in operation.slots:
            if slot.kind not in gone:
                continue
            filled = {
                each: own[each.kind]
                for each in operation.slots
                if each.required and each is not slot
            }
            for person in (ann, bob):
                value = gone[slot.kind]
                first = operation.send(person, {**filled, slot: value})
                second = operation.send(person, {**filled, slot: UNKNOWN_ID})
                assert Answer.of(first, value, UNKNOWN_ID) == Answer.of(
                    second, UNKNOWN_ID, UNKNOWN_ID
                ), (person.name, operation, slot)
                compared += 1
    assert compared >= 40
    for reference in (model["id"], checkpoint, spare):
        for path in ("jobs", "texts", "models", "corpora"):
            for item in ann.items(f"/v1/{path}"):
                named = (item.get("model"), item.get("checkpoint"), item.get("corpus"), item["id"])
                assert reference not in named, path
    done = ann.get(f"/v1/jobs/{written['id']}").json
    assert done["model"] is done["texts"][0]["model"] is done["texts"][0]["checkpoint"] is None
    text = ann.get(f"/v1/texts/{done['texts'][0]['id']}").json
    assert text["lineage"]["model"] is text["model"] is None
    again = problem(ann.post(f"/v1/jobs/{written['id']}/rerun"), 409)
    assert "the model of this job was deleted" in again["detail"]
    training = ann.get(f"/v1/jobs/{model['job']}").json
    assert training["checkpoints"] == {"best": None, "latest": None}
    # Only the owner restores it.
    for path in (f"/v1/models/{model['id']}", f"/v1/corpora/{spare}"):
        problem(bob.post(f"{path}/restore"), 404)
        problem(bob.delete(f"{path}?purge=true"), 404)
        problem(ann.delete(path), 404)
        assert ann.post(f"{path}/restore").status_code == 200
        problem(bob.post(f"{path}/restore"), 403)
    problem(ann.post(f"/v1/models/{UNKNOWN_ID}/restore"), 404)


def test_what_is_deleted_counts_until_it_is_purged(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    model = harness.model(ann)
    cap = int(ann.get("/v1/usage").json["stored_bytes"]["used"])
    admin.patch("/v1/usage/ann", {"max_stored_bytes": cap})
    corpus, path = model["corpus"], f"/v1/models/{model['id']}"
    assert ann.delete(path).status_code == 204
    assert ann.get("/v1/usage").json["stored_bytes"]["used"] == cap
    refused = problem(ann.post("/v1/corpora", {"name": "more", "text": "more" * 9}), 403)
    assert "purge=true" in refused["detail"]
    blobs = stored_blobs(harness)
    assert ann.delete(f"{path}?purge=true").status_code == 204
    assert stored_blobs(harness) == blobs - 1
    assert ann.get("/v1/usage").json["stored_bytes"]["used"] < cap
    assert ann.post("/v1/corpora", {"name": "more", "text": "more" * 9}).status_code == 201
    problem(ann.post(f"{path}/restore"), 404)
    # What is not deleted yet is purged in one step.
    assert ann.delete(f"/v1/corpora/{corpus}?purge=true").status_code == 204
    assert ann.items("/v1/corpora?deleted=true") == []
    refused = problem(ann.delete(f"/v1/corpora/{corpus}?purge=maybe"), 422)
    assert refused["errors"][0]["field"] == "purge"


def test_a_corpus_is_kept_for_the_models_that_can_be_had_back(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    mine = harness.model(ann, corpus, name="my muse")
    theirs = harness.model(bob, corpus, name="a secret of bob's")
    path = f"/v1/corpora/{corpus}"
    assert "your model 'my muse'" in problem(ann.delete(path), 409)["detail"]
    for person, model in ((ann, mine), (bob, theirs)):
        assert person.delete(f"/v1/models/{model['id']}").status_code == 204
    refused = problem(ann.delete(f"{path}?purge=true"), 409)["detail"]
    assert "your deleted model 'my muse'" in refused
    assert "deleted model of other users" in refused
    assert "secret" not in refused
    assert ann.delete(path).status_code == 204
    # Restoring a model restores one's own corpus, and nobody else's.
    assert bob.post(f"/v1/models/{theirs['id']}/restore").json["corpus"] is None
    problem(bob.get(path), 404)
    assert bob.post("/v1/generate", {"model": theirs["id"], "prompt": "It "}).status_code == 202
    assert ann.post(f"/v1/models/{mine['id']}/restore").json["corpus"] == corpus
    assert bob.get(path).status_code == 200


def test_what_nobody_can_have_back_is_purged(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    model = harness.model(ann)
    written = ann.post("/v1/generate", {"model": model["id"]}).json
    harness.write(written)
    kept = harness.model(bob, bob.upload("another text, of somebody else.\n" * 99))
    path = f"/v1/models/{model['id']}"
    ann.delete(path)
    ann.delete(f"/v1/corpora/{model['corpus']}")
    age(harness, DAYS - 0.1)
    assert purge_deleted(harness.engine, DAYS) == 0
    assert ann.post(f"{path}/restore").status_code == 200
    assert len(ann.items("/v1/corpora")) == 1, "its corpus came back with it"
    ann.delete(path)
    ann.delete(f"/v1/corpora/{model['corpus']}")
    age(harness, DAYS + 0.1)
    before = stored_blobs(harness)
    assert purge_deleted(harness.engine, DAYS) == 2
    # Both models have the same network, byte for byte.
    assert stored_blobs(harness) == before - 1
    assert purge_deleted(harness.engine, DAYS) == 0
    problem(ann.post(f"{path}/restore"), 404)
    assert ann.get(f"/v1/jobs/{written['id']}").json["texts"][0]["text"] == "a text"
    assert bob.get(f"/v1/models/{kept['id']}").json == kept
    events = admin.items("/v1/audit?user=ann")
    purged = [each for each in events if each["action"].endswith(".purged")]
    assert {each["resource"]["kind"] for each in purged} == {"model", "corpus"}
    assert {each["actor"] for each in purged} == {None}


def test_a_corpus_waits_for_a_model_of_others_before_it_is_purged(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    theirs = harness.model(bob, corpus)
    bob.delete(f"/v1/models/{theirs['id']}")
    ann.delete(f"/v1/corpora/{corpus}")
    bob.post(f"/v1/models/{theirs['id']}/restore")
    age(harness, DAYS + 1)
    assert purge_deleted(harness.engine, DAYS) == 0
    bob.delete(f"/v1/models/{theirs['id']}?purge=true")
    assert purge_deleted(harness.engine, DAYS) == 1


@pytest.mark.parametrize("kind", ["model", "corpus"])
def test_deleting_restoring_and_purging_are_recorded(
    harness: ApiHarness, ann: Person, admin: Person, kind: str
) -> None:
    made: Any = harness.model(ann) if kind == "model" else {"id": ann.upload()}
    path = f"/v1/{'models' if kind == 'model' else 'corpora'}/{made['id']}"
    ann.delete(path)
    ann.post(f"{path}/restore")
    ann.post(f"{path}/restore")
    ann.delete(path)
    ann.delete(f"{path}?purge=true")
    events = [
        (each["action"], each["actor"])
        for each in admin.items("/v1/audit")
        if each["resource"] == {"kind": kind, "id": made["id"]}
    ]
    done = ["purged", "deleted", "restored", "deleted"]
    assert events == [(f"{kind}.{what}", "ann") for what in done]
