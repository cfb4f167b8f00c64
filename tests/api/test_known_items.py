"""Generations that compare their items with the corpus: only new ones, and the nearest of each."""

from typing import Any

import pytest
from sqlalchemy import update

from shared.tables import Corpus
from tests.api.harness import ApiHarness, Person, problem, record
from tests.api.test_items import list_model

FIELDS = ("only_new", "nearest")


def ask(person: Person, model: Any, **fields: Any) -> Any:
    return person.post("/v1/generate", {"model": model["id"], **fields})


def refusal(answer: Any, field: str) -> str:
    [error] = problem(answer, 422)["errors"]
    assert (error["field"], error["value"]) == (field, True)
    return str(error["message"])


def test_they_are_kept_with_the_job_only_where_they_are_asked_for(
    harness: ApiHarness, ann: Person
) -> None:
    model = list_model(harness, ann)
    spec = ask(ann, model, only_new=True, nearest=True).json["spec"]
    assert (spec["only_new"], spec["nearest"]) == (True, True)
    # Workers of an earlier version refuse what they don't know.
    assert not {*FIELDS} & ask(ann, model, only_new=False, nearest=False).json["spec"].keys()
    waited = ann.post(
        "/v1/generate", {"model": model["id"], "only_new": True}, headers={"Prefer": "wait=0"}
    )
    assert waited.json["spec"]["only_new"] is True


@pytest.mark.parametrize("field", FIELDS)
def test_a_text_has_no_items_to_compare_with(harness: ApiHarness, ann: Person, field: str) -> None:
    answer = ask(ann, harness.model(ann), **{field: True}, prompt="It ")
    assert "no items. Leave it out" in refusal(answer, field)


@pytest.mark.parametrize("field", FIELDS)
def test_a_list_that_is_too_long_is_not_searched(
    harness: ApiHarness, ann: Person, field: str
) -> None:
    model = list_model(harness, ann)
    with harness.engine.begin() as connection:
        connection.execute(update(Corpus).values(characters=8_000_001))
    said = refusal(ask(ann, model, **{field: True}), field)
    assert "8,000,001 characters; at most 8,000,000 are" in said


def test_how_much_is_compared_has_a_limit(harness: ApiHarness, ann: Person) -> None:
    model = list_model(harness, ann)
    with harness.engine.begin() as connection:
        connection.execute(update(Corpus).values(characters=1_000_000))
    said = refusal(ask(ann, model, nearest=True, n=251, temperature=[0.2, 1]), "nearest")
    assert "502 texts with 1,000,000 characters each" in said
    assert "at most 500 texts" in said
    assert ask(ann, model, nearest=True, n=250, temperature=[0.2, 1]).status_code == 202
    assert ask(ann, model, only_new=True, n=1000).status_code == 202


def test_items_of_a_private_corpus_are_not_told(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    model = list_model(harness, ann, visibility="server")
    said = refusal(ask(bob, model, nearest=True), "nearest")
    assert "allow_excerpts" in said
    assert ask(bob, model, only_new=True).status_code == 202, "as `copy`, it tells no item"
    ann.patch(f"/v1/corpora/{model['corpus']}", {"allow_excerpts": True})
    job = ask(bob, model, nearest=True).json
    again = f"/v1/jobs/{job['id']}/rerun"
    assert bob.post(again, {}).status_code == 202
    ann.patch(f"/v1/corpora/{model['corpus']}", {"allow_excerpts": False})
    assert "allow_excerpts" in refusal(bob.post(again, {}), "nearest")


def test_a_text_says_what_was_thrown_away_and_what_is_nearest(
    harness: ApiHarness, ann: Person
) -> None:
    model = list_model(harness, ann)
    job = ask(ann, model, n=3, only_new=True, nearest=True).json
    claim = harness.claim(job["id"], "generate")
    checkpoint = model["checkpoints"]["best"]
    harness.queue.succeed(
        claim,
        [
            record(
                0, "Aano", checkpoint, copy=False, discarded=4, nearest="Aan", nearest_distance=1
            ),
            record(1, "", checkpoint, discarded=20),
            record(2, "Be", checkpoint),
        ],
    )
    texts = ann.get(f"/v1/jobs/{job['id']}").json["texts"]
    assert [text["discarded"] for text in texts] == [4, 20, None]
    assert [text["nearest"] for text in texts] == [{"item": "Aan", "distance": 1}, None, None]
    assert ann.items(f"/v1/jobs/{job['id']}/texts") == texts
