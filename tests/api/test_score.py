"""``POST /v1/score``: texts, corpora, and long texts that are kept as one."""

import unicodedata
from typing import Any

import pytest

from tests.api.harness import ENGLISH, ApiHarness, Person, assert_succeeded, problem
from tests.api.test_invalid_fields import NOTHING


def test_a_score(harness: ApiHarness, ann: Person) -> None:
    classic = harness.model(ann, preset="classic")
    answer = ann.post("/v1/score", {"model": classic["id"], "text": "IT was\r\n", "logprobs": True})
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["name"]) == ("generate", classic["name"])
    spec = job["spec"]
    assert (spec["score"], spec["prompt"], spec["length"]) == (True, "it was\n", 0)
    assert (spec["logprobs"], spec["temperatures"]) == (True, [1.0])
    harness.write(job, [""])
    assert ann.get(f"/v1/jobs/{job['id']}").json["status"] == "succeeded"
    waited = ann.post(
        "/v1/score", {"model": classic["id"], "text": "it was"}, headers={"Prefer": "wait=1"}
    )
    assert waited.status_code == 202


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"text": "I"}, 'text: must have at least 2 characters (got "I")'),
        ({}, "text: required"),
        ({"text": "It \u2013 was"}, "text: character '\u2013' (U+2013) at position 3"),
        ({"text": "It was", "length": 3}, "length: unknown field"),
    ],
)
def test_an_invalid_score_names_its_field(
    harness: ApiHarness, ann: Person, fields: dict[str, Any], says: str
) -> None:
    answer = ann.post("/v1/score", {"model": harness.model(ann)["id"], **fields})
    assert says in problem(answer, 422)["detail"]


def test_a_score_needs_a_visible_model_with_a_checkpoint(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = harness.model(ann)["id"]
    problem(bob.post("/v1/score", {"model": model, "text": "It was"}), 404)
    untaught = ann.train(ann.upload())["model"]
    problem(ann.post("/v1/score", {"model": untaught, "text": "It was"}), 409)


def test_a_score_of_a_corpus(harness: ApiHarness, ann: Person, bob: Person) -> None:
    model, corpus = harness.model(ann)["id"], ann.upload(ENGLISH * 3, name="more")
    made = ann.post("/v1/score", {"model": model, "corpus": corpus, "unknown": "skip"})
    assert made.status_code == 202, made.text
    assert made.json["corpus"] == corpus
    assert made.json["spec"]["prompt"] is None
    assert made.json["spec"]["fitting"] == {"unknown": "skip", "normal_form": None}
    told = problem(ann.delete(f"/v1/corpora/{corpus}"), 409)
    assert "unfinished job" in told["detail"]
    again = ann.post(f"/v1/jobs/{made.json['id']}/rerun")
    assert (again.status_code, again.json["corpus"]) == (202, corpus)
    assert again.json["spec"] == made.json["spec"]
    theirs = bob.upload(ENGLISH)
    body = {"model": model, "corpus": theirs}
    missing = {"model": model, "corpus": NOTHING}
    assert (
        problem(ann.post("/v1/score", body), 404)["detail"].replace(theirs, NOTHING)
        == (problem(ann.post("/v1/score", missing), 404)["detail"])
    )
    # Their job needs no corpus any more once it has ended.
    for job in (made.json, again.json):
        ann.post(f"/v1/jobs/{job['id']}/cancel")
    assert ann.delete(f"/v1/corpora/{corpus}").status_code == 204
    problem(ann.post(f"/v1/jobs/{made.json['id']}/rerun"), 409)


def test_a_corpus_that_can_not_be_scored_is_refused(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann, ann.upload(ENGLISH))["id"]

    def told(text: str, **fields: Any) -> Any:
        corpus = ann.upload(text, name="other")
        return problem(ann.post("/v1/score", {"model": model, "corpus": corpus, **fields}), 422)

    unknown = told("It was €.\n")
    assert (unknown["errors"][0]["field"], unknown["code"]) == ("corpus", "unknown_character")
    assert "'€' (U+20AC)" in unknown["detail"]
    assert told("I")["errors"][0]["field"] == "corpus"
    long = ENGLISH * (100_000 // len(ENGLISH) + 1)
    assert told(long, logprobs=True)["errors"][0]["field"] == "logprobs"
    corpus = ann.upload(ENGLISH, name="both")
    both = ann.post("/v1/score", {"model": model, "corpus": corpus, "text": "It was"})
    assert problem(both, 422)["errors"][0]["field"] == "corpus"
    # Letters of the other normal form are left to the reading, which knows the whole text.
    french = "L'été à côté.\n" * 200
    composed = harness.model(ann, ann.upload(unicodedata.normalize("NFC", french)))["id"]
    other = ann.upload(unicodedata.normalize("NFD", french), name="nfd")
    made = ann.post("/v1/score", {"model": composed, "corpus": other})
    assert_succeeded(made)
    assert made.json["spec"]["fitting"]["normal_form"] == "NFC"


def test_a_long_text_is_kept_as_a_corpus_and_scored(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann)["id"]
    before = len(ann.items("/v1/corpora"))
    long = ENGLISH * (100_000 // len(ENGLISH) + 1)
    body, key = {"model": model, "text": long}, {"Idempotency-Key": "k"}
    made = ann.post("/v1/score", body, headers=key)
    assert made.status_code == 202, made.text
    assert made.json["spec"]["prompt"] is None
    kept = ann.get(f"/v1/corpora/{made.json['corpus']}").json
    assert (kept["characters"], kept["visibility"]) == (len(long), "private")
    assert ann.post("/v1/score", body, headers=key).json["id"] == made.json["id"]
    second = ann.post("/v1/score", body)
    assert second.json["id"] != made.json["id"]
    assert second.json["corpus"] == made.json["corpus"]
    assert len(ann.items("/v1/corpora")) == before + 1
    problem(ann.post("/v1/score", body | {"model": NOTHING}), 404)
    told = problem(ann.post("/v1/score", body | {"text": f"{long}\0"}), 422)
    assert told["code"] == "forbidden_character"
    assert len(ann.items("/v1/corpora")) == before + 1
