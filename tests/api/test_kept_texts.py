"""Texts that a user keeps, with a note or without one."""

from typing import Any

import pytest

from tests.api.harness import ApiHarness, Person, problem


@pytest.fixture
def texts(harness: ApiHarness, ann: Person) -> list[Any]:
    model = harness.model(ann)
    job = ann.post("/v1/generate", {"model": model["id"], "n": 3}).json
    harness.write(job, ["one", "two", "three"])
    return list(ann.get(f"/v1/jobs/{job['id']}").json["texts"])


def test_a_text_is_kept_with_a_note(
    harness: ApiHarness, ann: Person, bob: Person, texts: list[Any]
) -> None:
    assert [(text["kept"], text["note"]) for text in texts] == [(False, None)] * 3
    first, second, _ = (f"/v1/texts/{text['id']}" for text in texts)
    assert ann.patch(first, {"kept": True}).json == texts[0] | {"kept": True}
    note = "the best so far\nwith a second line 😀"
    kept = ann.patch(second, {"kept": True, "note": note}).json
    assert (kept["kept"], kept["note"]) == (True, note)
    names = [text["text"] for text in ann.items("/v1/texts?kept=true")]
    assert names == ["two", "one"]
    assert [text["text"] for text in ann.items("/v1/texts?kept=false")] == ["three"]
    assert len(ann.items("/v1/texts")) == 3
    assert bob.items("/v1/texts?kept=true") == []
    of_model = f"/v1/texts?kept=true&model={texts[0]['model']}"
    assert len(ann.items(of_model)) == 2
    assert ann.patch(second, {"note": None}).json["kept"] is True
    assert ann.get(second).json["note"] is None
    assert ann.patch(first, {"note": "x"}).json["kept"] is True
    dropped = ann.patch(first, {"kept": False}).json
    assert (dropped["kept"], dropped["note"]) == (False, None)
    problem(bob.patch(first, {"kept": True}), 404)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "one of kept, note"),
        ({"kept": False, "note": "x"}, "a text with a note is kept"),
        ({"note": ""}, "at least 1 character"),
        ({"note": "x" * 2001}, "at most 2000 characters"),
        ({"kept": "yes"}, "boolean"),
        ({"text": "another"}, "text"),
    ],
)
def test_what_can_not_be_kept(
    harness: ApiHarness, ann: Person, texts: list[Any], body: dict[str, Any], told: str
) -> None:
    path = f"/v1/texts/{texts[0]['id']}"
    assert told in problem(ann.patch(path, body), 422)["detail"]
    assert ann.get(path).json["kept"] is False
