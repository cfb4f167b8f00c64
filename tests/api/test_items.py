"""Lists: their upload, their trainings, and the items that models write."""

import io
from typing import Any

import pytest

from shared.texts.items import ITEM_BEGIN, ITEM_END
from tests.api.harness import ENGLISH, ApiHarness, Person, problem, record

NAMES = "".join(f"{a}{b}{c}\n" for a in "ABC" for b in "aeiou" for c in ("n", "lin", "rta"))


def list_model(harness: ApiHarness, person: Person, **fields: Any) -> Any:
    """A trained model of names."""
    job = person.train(person.upload(NAMES, items="lines"), name="names", **fields)
    claim = harness.claim(job["id"])
    harness.checkpoint(claim, 10, 2.0)
    harness.queue.succeed(claim)
    return person.get(f"/v1/models/{job['model']}").json


def test_a_list_is_uploaded_in_every_way(ann: Person) -> None:
    fields = {"items": "column", "column": "name"}
    table = "id,name\n" + "".join(f"{n},{name}\n" for n, name in enumerate(NAMES.split()))
    made = [
        ann.post("/v1/corpora", {"name": "json", "text": table, **fields}),
        ann.post("/v1/corpora", data={"file": (io.BytesIO(table.encode()), "n.csv"), **fields}),
        ann.post("/v1/corpora?items=column&column=name", data=table, content_type="text/plain"),
    ]
    for answer in made:
        assert answer.status_code == 201, answer.text
        corpus = ann.get(f"/v1/corpora/{answer.json['id']}").json
        assert corpus["items"] == {"shape": "column", "count": 45, "median": 5, "longest": 5}
        assert corpus["findings"][0]["code"] == "items"
    text = ann.get(f"/v1/corpora/{made[0].json['id']}/text").get_data(as_text=True)
    assert text == "".join(f"{ITEM_BEGIN}{name}{ITEM_END}" for name in NAMES.split())
    assert len({answer.json["sha256"] for answer in made}) == 1
    dry = ann.post("/v1/corpora?dry_run=true", {"name": "x", "text": NAMES, "items": "lines"})
    assert dry.json["items"]["count"] == 45
    plain = ann.get(f"/v1/corpora/{ann.upload(NAMES)}").json
    assert plain["items"] is None
    assert "45 lines" in next(f["message"] for f in plain["findings"] if f["code"] == "list")


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"items": "words"}, "items", "'lines', 'blank'"),
        ({"items": "separator"}, "separator", "give separator"),
        ({"items": "column", "column": "name"}, "column", "name one of"),
        ({"items": "lines", "separator": "%"}, "separator", "leave separator out"),
        ({"separator": "%"}, "separator", "Set items to 'separator'"),
        ({"column": "a"}, "column", "Set items to 'column'"),
        ({"items": "files"}, "items", "one item"),
    ],
)
def test_a_list_that_can_not_be_cut_is_refused(
    ann: Person, fields: dict[str, str], field: str, says: str
) -> None:
    answers = [
        ann.post("/v1/corpora", {"name": "x", "text": NAMES, **fields}),
        ann.post("/v1/corpora", data={"file": (io.BytesIO(NAMES.encode()), "n.txt"), **fields}),
    ]
    for answer in answers:
        error = problem(answer, 422)["errors"][0]
        assert error["field"] == field
        assert says in error["message"]
    assert ann.items("/v1/corpora") == []


def test_windows_fit_the_items_unless_they_are_given(ann: Person) -> None:
    corpus = ann.upload(NAMES, items="lines")
    spec = ann.train(corpus)["spec"]
    assert (spec["items"], spec["window"], spec["batch_size"]) == (True, 6, 256)
    spec = ann.train(corpus, batch_size=8)["spec"]
    assert (spec["window"], spec["batch_size"]) == (6, 8)
    spec = ann.train(corpus, window=32)["spec"]
    assert (spec["window"], spec["batch_size"]) == (32, 16)
    assert ann.train(ann.upload())["spec"]["items"] is False


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"preset": "classic"}, "preset"),
        ({"predict": "last"}, "predict"),
        ({"tokenizer": "word"}, "tokenizer"),
    ],
)
def test_what_a_list_can_not_be_trained_with_is_named(
    ann: Person, fields: dict[str, str], field: str
) -> None:
    corpus = ann.upload(NAMES, items="lines")
    error = problem(ann.post("/v1/train", {"corpus": corpus, **fields}), 422)["errors"][0]
    assert (error["field"], error["value"]) == (field, fields[field])
    assert "not possible with a corpus of items" in error["message"]


def test_items_begin_at_their_beginning(harness: ApiHarness, ann: Person, bob: Person) -> None:
    model = list_model(harness, ann, visibility="server")
    for person, fields in ((ann, {}), (ann, {"prompt": ""}), (bob, {})):
        spec = person.post("/v1/generate", {"model": model["id"], **fields}).json["spec"]
        assert (spec["prompt"], spec["items"], spec["length"]) == ("", True, 400)
    spec = ann.post("/v1/generate", {"model": model["id"], "prompt": "Be"}).json["spec"]
    assert spec["prompt"] == "Be"
    wrong = ann.post("/v1/generate", {"model": model["id"], "prompt_from": "corpus"})
    assert problem(wrong, 422)["errors"][0]["field"] == "prompt_from"


def test_ten_thousand_items_are_one_request_and_ten_thousand_texts_are_not(
    harness: ApiHarness, ann: Person
) -> None:
    names = list_model(harness, ann)["id"]
    spec = ann.post("/v1/generate", {"model": names, "n": 10_000}).json["spec"]
    assert (spec["n"], spec["length"]) == (10_000, 100), "as many tokens as a job may write"
    error = problem(ann.post("/v1/generate", {"model": names, "n": 10_001}), 422)["errors"][0]
    assert (error["field"], error["value"]) == ("n", 10_001)
    given = {"model": names, "n": 10_000, "length": 200}
    assert problem(ann.post("/v1/generate", given), 422)["errors"][0]["field"] == "length"
    text = harness.model(ann)["id"]
    error = problem(ann.post("/v1/generate", {"model": text, "n": 65}), 422)["errors"][0]
    assert (error["field"], error["value"]) == ("n", 65)
    assert "less than or equal to 64" in error["message"]
    error = problem(ann.post("/v1/generate", {"model": text, "prompt": ""}), 422)["errors"][0]
    assert (error["field"], error["value"]) == ("prompt", "")


def test_a_text_says_whether_it_is_a_copy_of_an_item(harness: ApiHarness, ann: Person) -> None:
    model = list_model(harness, ann)
    asked = ann.post("/v1/generate", {"model": model["id"], "n": 3}).json
    claim = harness.claim(asked["id"], "generate")
    checkpoint = model["checkpoints"]["best"]
    copies = [True, False, None]
    texts = [record(i, "Aan", checkpoint, copy=copy) for i, copy in enumerate(copies)]
    harness.queue.succeed(claim, texts)
    assert [text["copy"] for text in ann.items(f"/v1/jobs/{asked['id']}/texts")] == copies
    inline = ann.get(f"/v1/jobs/{asked['id']}").json["texts"]
    assert [text["copy"] for text in inline] == copies


def test_a_training_from_a_text_learns_a_list(harness: ApiHarness, ann: Person) -> None:
    before = harness.model(ann)
    job = ann.train(ann.upload(NAMES, items="lines"), **{"from": before["checkpoints"]["best"]})
    assert job["spec"]["items"] is True
    assert job["spec"]["window"] == before["spec"]["window"], "the checkpoint's numbers stay"
    model = ann.get(f"/v1/models/{job['model']}").json
    assert model["vocabulary_size"] == len(set(ENGLISH) | set(NAMES.replace("\n", "")) | {1, 2})
