"""Fields with values that they may not have: each is named, with what is allowed."""

import json
from typing import Any

import pytest

from tests.api.test_corpora import JSON, raw
from tests.api.test_generate import ask
from tests.api.world import Person, World, problem


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What a request may say does not depend on the database."""
    return sqlite_url


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?encoding=klingon", "encoding"),
        ("?encoding=rot13", "encoding"),
        ("?encoding=hex", "encoding"),
        ("?visibility=world", "visibility"),
        ("?colour=red", "colour"),
        ("?name=", "name"),
        ("?name=%20%20", "name"),
        ("?name=a%00b", "name"),
        ("?name=" + "x" * 201, "name"),
        ("?name=a&name=b", "name"),
    ],
)
def test_fields_that_are_wrong_are_named(ann: Person, query: str, field: str) -> None:
    body = problem(raw(ann, b"abc", query), 422)
    assert body["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "text": 5},
        {"name": "x", "text": "abc", "encoding": "latin-1"},
        {"text": "abc"},
        ["a"],
        "abc",
        None,
    ],
)
def test_json_must_have_the_fields(ann: Person, body: object) -> None:
    answer = ann.post("/v1/corpora", data=json.dumps(body), content_type=JSON)
    problem(answer, 422)


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"epochs": 0}, "epochs", "greater than or equal to 1"),
        ({"epochs": "3"}, "epochs", "integer"),
        ({"epochs": True}, "epochs", "integer"),
        ({"epochs": None}, "epochs", "integer"),
        ({"units": 4096}, "units", "2048"),
        ({"learning_rate": 0}, "learning_rate", "greater than 0"),
        ({"held_out": 0.9}, "held_out", "0.5"),
        ({"preset": "huge"}, "preset", "'classic', 'default' or 'large'"),
        ({"epoch": 3}, "epoch", "did you mean epochs?"),
        ({"seed": 2**53}, "seed", "less than"),
        ({"seed": -1}, "seed", "greater than"),
        ({"sample": {"length": "9"}}, "sample.length", "integer"),
        ({"sample": {"size": 9}}, "sample.size", "not a field"),
        ({"corpus": "mine"}, "corpus", "an id such as"),
        ({"threads": 4}, "threads", "not a field"),
    ],
)
def test_a_wrong_number_of_a_training_is_named_with_what_is_allowed(
    world: World, ann: Person, fields: dict[str, object], field: str, said: str
) -> None:
    body = problem(ann.post("/v1/train", {"corpus": ann.upload(), **fields}), 422)
    assert [error["field"] for error in body["errors"]] == [field]
    assert said in body["detail"]
    assert ann.items("/v1/models") == []


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"length": 0}, "length", "1"),
        ({"length": 100_001}, "length", "100000"),
        ({"n": 65}, "n", "64"),
        ({"temperature": -0.1}, "temperature.0", "0"),
        ({"temperature": []}, "temperature", "1"),
        ({"temperature": [0.5] * 17}, "temperature", "16"),
        ({"temperature": "hot"}, "temperature.0", "number"),
        ({"temperature": [0.5, None]}, "temperature.1", "number"),
        ({"top_k": 0}, "top_k", "1"),
        ({"top_p": 0}, "top_p", "0"),
        ({"top_p": 1.5}, "top_p", "1"),
        ({"prompt": ""}, "prompt", "1 character"),
        ({"unknown": "guess"}, "unknown", "'skip'"),
        ({"checkpoint": "newest"}, "checkpoint", "best, latest or an id"),
        ({"prefer": "x"}, "prefer", "not a field"),
        ({"length": 100_000, "n": 11}, "length", "lower length to 90909"),
    ],
)
def test_a_wrong_field_of_a_generation_is_named(
    ann: Person, fields: dict[str, Any], field: str, said: str
) -> None:
    answer = ask(ann, "01890a5d-ac96-774b-bcce-b302099a8057", **fields)
    body = problem(answer, 422)
    assert body["errors"][0]["field"] == field
    assert said in body["detail"]
