"""``/openai/v1/models``: names as ids, checkpoints, and what belongs to others."""

from datetime import datetime
from typing import Any

import pytest

from tests.api.harness import ApiHarness, Person
from tests.openai.calls import ROOT, chat, completions, error, in_background, queued

MODELS = f"{ROOT}/models"
UNKNOWN_ID = "019ab0c4-0000-7000-8000-000000000000"


def ids(person: Person) -> list[str]:
    answer = person.get(MODELS)
    assert answer.status_code == 200, answer.text
    assert list(answer.json) == ["object", "data"]
    assert answer.json["object"] == "list"
    return [model["id"] for model in answer.json["data"]]


@pytest.fixture
def corpus(ann: Person) -> str:
    return ann.upload()


def share(person: Person, model: Any) -> None:
    assert person.patch(f"/v1/models/{model['id']}", {"visibility": "server"}).status_code == 200


def test_models_are_listed_on_one_page_newest_first(
    harness: ApiHarness, ann: Person, corpus: str
) -> None:
    assert ids(ann) == []
    made = [harness.model(ann, corpus, name=name) for name in ("one", "zwei", "три 3")]
    assert ids(ann) == ["три 3", "zwei", "one"]
    assert ann.get(MODELS).json["data"][-1] == {
        "id": "one",
        "object": "model",
        "created": int(datetime.fromisoformat(made[0]["created_at"]).timestamp()),
        "owned_by": "ann",
    }
    for name in ids(ann):
        assert ann.get(f"{MODELS}/{name}").json["id"] == name


def test_an_id_that_is_listed_means_its_own_model(
    harness: ApiHarness, ann: Person, corpus: str
) -> None:
    older = harness.model(ann, corpus, name="same")
    newer = harness.model(ann, corpus, name="same")
    slash = harness.model(ann, corpus, name="a/b")
    at = harness.model(ann, corpus, name="same@best")
    as_id = harness.model(ann, corpus, name=UNKNOWN_ID)
    listed = [as_id["id"], at["id"], slash["id"], "same", older["id"]]
    assert ids(ann) == listed
    meant = [as_id, at, slash, newer, older]
    for name, model in zip(listed, meant, strict=True):
        assert written_with(harness, ann, name)["model"] == model["id"]
    assert written_with(harness, ann, "same@best")["model"] == newer["id"]
    assert written_with(harness, ann, f"{slash['id']}@latest")["model"] == slash["id"]
    for name in ("a/b", UNKNOWN_ID, "ann/a/b", "ann/same@best@best"):
        assert error(ann.get(f"{MODELS}/{name}"), 404)["code"] == "model_not_found"


def written_with(harness: ApiHarness, person: Person, name: str) -> Any:
    """Return the job of a completion by a model."""
    with in_background(completions, person, model=name, prompt="It was") as future:
        [job] = queued(person)
        harness.write(job)
        answer = future.result()
    assert answer.status_code == 200, answer.text
    assert answer.json["model"] == name
    return job


def test_checkpoints_are_models(harness: ApiHarness, ann: Person, corpus: str) -> None:
    job = ann.train(corpus, name="orwell")
    claim = harness.claim(job["id"])
    first = harness.checkpoint(claim, 100, 1.0)
    harness.checkpoint(claim, 200, 2.0)
    harness.queue.succeed(claim)
    model = job["model"]
    for name, checkpoint in (
        ("orwell", "best"),
        ("orwell@best", "best"),
        ("orwell@latest", "latest"),
        ("orwell@100", first),
        ("ann/orwell@100", first),
        (f"{model}@100", first),
    ):
        assert ann.get(f"{MODELS}/{name}").json["id"] == name
        assert written_with(harness, ann, name)["spec"]["checkpoint"] == checkpoint
    for name in ("orwell@150", "orwell@newest", "orwell@", "orwell@99999999999", "orwell@-1"):
        for answer in (ann.get(f"{MODELS}/{name}"), chat(ann, model=name)):
            found = error(answer, 404)
            assert (found["code"], found["param"]) == ("model_not_found", "model")
            assert found["type"] == "invalid_request_error"


def test_a_model_without_a_checkpoint_can_not_write_yet(
    harness: ApiHarness, ann: Person, corpus: str
) -> None:
    ann.train(corpus, name="young")
    assert ids(ann) == ["young"]
    answer = completions(ann, model="young")
    assert error(answer, 409)["code"] == "no_checkpoint_yet"
    assert answer.headers["x-should-retry"] == "false"


def test_shared_models_have_the_name_of_their_owner(
    harness: ApiHarness, ann: Person, bob: Person, corpus: str
) -> None:
    shared, private = (harness.model(ann, corpus, name=name) for name in ("shared", "private"))
    slash = harness.model(ann, corpus, name="a/b")
    share(ann, shared)
    share(ann, slash)
    assert ids(bob) == [slash["id"], "ann/shared"]
    assert bob.get(MODELS).json["data"][-1]["owned_by"] == "ann"
    assert written_with(harness, bob, "ann/shared@best")["model"] == shared["id"]
    assert written_with(harness, ann, "ann/private")["model"] == private["id"]
    harness.model(bob, name="shared")
    assert ids(bob) == ["shared", slash["id"], "ann/shared"]


def test_another_users_private_model_is_like_a_missing_one(
    harness: ApiHarness, ann: Person, bob: Person, corpus: str
) -> None:
    model = harness.model(ann, corpus, name="diary")

    def answers() -> list[Any]:
        sent = []
        for name in ("diary", "ann/diary", "ann/diary@100", "ann/diary@best", model["id"]):
            sent += [
                bob.get(f"{MODELS}/{name}"),
                bob.delete(f"{MODELS}/{name}"),
                completions(bob, model=name),
                completions(bob, model=name, stream=True),
                chat(bob, model=name),
            ]
        return [(answer.status_code, answer.get_data()) for answer in sent]

    private = answers()
    assert {status for status, _ in private} == {404}
    assert ids(bob) == []
    assert ann.delete(f"{MODELS}/diary").status_code == 200
    assert answers() == private


def test_a_model_is_deleted_with_its_checkpoints(
    harness: ApiHarness, ann: Person, bob: Person, corpus: str
) -> None:
    model = harness.model(ann, corpus, name="orwell")
    share(ann, model)
    assert error(bob.delete(f"{MODELS}/ann/orwell"), 403)["type"] == "permission_error"
    refused = error(ann.delete(f"{MODELS}/orwell@best"), 400)
    assert refused["param"] == "model"
    assert "Delete 'orwell'" in refused["message"]
    answer = ann.delete(f"{MODELS}/orwell")
    assert (answer.status_code, answer.json) == (
        200,
        {"id": "orwell", "object": "model", "deleted": True},
    )
    assert ids(ann) == []
    assert ann.get(f"/v1/models/{model['id']}").status_code == 404


def test_a_model_in_use_is_not_deleted(harness: ApiHarness, ann: Person, corpus: str) -> None:
    ann.train(corpus, name="young")
    answer = ann.delete(f"{MODELS}/young")
    assert error(answer, 409)["code"] == "still_needed"
    assert answer.headers["x-should-retry"] == "false"
