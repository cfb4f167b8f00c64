"""Invalid fields: each is named, with the bound."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.harness import ENGLISH, ApiHarness, Person, problem
from tests.api.test_corpora import JSON, raw
from tests.api.test_generate import ask

#: An id that nothing has.
NOTHING = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Validation does not depend on the database."""
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
def test_invalid_query_parameters_are_named(ann: Person, query: str, field: str) -> None:
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
def test_missing_or_unknown_fields_are_refused(ann: Person, body: object) -> None:
    answer = ann.post("/v1/corpora", data=json.dumps(body), content_type=JSON)
    problem(answer, 422)


#: The fields of a request, then the invalid field, its value, and the bound in the message.
Refused = tuple[dict[str, Any], str, Any, str]
A_YEAR_SECONDS = 366 * 24 * 3600
TOO_LONG = "a" * 100_001
#: A long value is cut.
CUT = "a" * 100 + "…"

SCHEDULING: list[Refused] = [
    ({"deadline_seconds": 0}, "deadline_seconds", 0, "greater than 0"),
    (
        {"deadline_seconds": A_YEAR_SECONDS + 1},
        "deadline_seconds",
        A_YEAR_SECONDS + 1,
        f"less than or equal to {A_YEAR_SECONDS}",
    ),
    ({"seed": -1}, "seed", -1, "greater than or equal to 0"),
    ({"seed": 2**53}, "seed", 2**53, f"less than {2**53}"),
    ({"priority": "urgent"}, "priority", "urgent", "'high', 'normal' or 'low'"),
]
TRAININGS: list[Refused] = [
    *SCHEDULING,
    ({"epochs": 0}, "epochs", 0, "greater than or equal to 1"),
    ({"epochs": 10_001}, "epochs", 10_001, "less than or equal to 10000"),
    ({"epochs": "3"}, "epochs", "3", "a valid integer"),
    ({"epochs": True}, "epochs", True, "a valid integer"),
    ({"epochs": None}, "epochs", None, "a valid integer"),
    ({"units": 4096}, "units", 4096, "less than or equal to 2048"),
    ({"learning_rate": 0}, "learning_rate", 0, "greater than 0"),
    ({"held_out": 0.9}, "held_out", 0.9, "less than or equal to 0.5"),
    ({"holdout": "head"}, "holdout", "head", "'tail' or 'spread'"),
    ({"preset": "huge"}, "preset", "huge", "'classic', 'default' or 'large'"),
    ({"epoch": 3}, "epoch", 3, "Did you mean epochs?"),
    ({"threads": 4}, "threads", 4, "unknown field"),
    ({"sample": {"length": "9"}}, "sample.length", "9", "a valid integer"),
    ({"sample": {"length": 10_001}}, "sample.length", 10_001, "less than or equal to 10000"),
    ({"sample": {"size": 9}}, "sample.size", 9, "unknown field"),
    ({"corpus": "mine"}, "corpus", "mine", "an id such as"),
]
GENERATIONS: list[Refused] = [
    *SCHEDULING,
    ({"length": 0}, "length", 0, "greater than or equal to 1"),
    ({"length": 100_001}, "length", 100_001, "less than or equal to 100000"),
    ({"length": 100_000, "n": 11}, "length", 100_000, "Lower length to 90909"),
    ({"n": 0}, "n", 0, "greater than or equal to 1"),
    ({"n": 10_001}, "n", 10_001, "less than or equal to 10000"),
    ({"temperature": -0.1}, "temperature.0", -0.1, "greater than or equal to 0"),
    ({"temperature": 11}, "temperature.0", 11, "less than or equal to 10"),
    ({"temperature": []}, "temperature", [], "at least 1 item"),
    ({"temperature": [0.5] * 17}, "temperature", [0.5] * 17, "at most 16 items"),
    ({"temperature": "hot"}, "temperature.0", "hot", "a valid number"),
    ({"temperature": [0.5, None]}, "temperature.1", None, "a valid number"),
    ({"temperature": {"from": 1}}, "temperature.0.to", None, "required"),
    ({"temperature": {"from": 1, "to": "1"}}, "temperature.0.to", "1", "a valid number"),
    ({"temperature": {"from": 1, "to": 1, "by": 2}}, "temperature.0.by", 2, "unknown field"),
    (
        {"temperature": {"from": 10.5, "to": 1}},
        "temperature.0.from",
        10.5,
        "less than or equal to 10",
    ),
    (
        {"temperature": [1, {"from": 1, "to": 10.5}]},
        "temperature.1.to",
        10.5,
        "less than or equal to 10",
    ),
    (
        {"temperature": [1, {"from": 1, "to": -1}]},
        "temperature.1.to",
        -1,
        "greater than or equal to 0",
    ),
    ({"top_k": 0}, "top_k", 0, "greater than or equal to 1"),
    ({"top_k": 1_000_001}, "top_k", 1_000_001, "less than or equal to 1000000"),
    ({"top_p": 0}, "top_p", 0, "greater than 0"),
    ({"top_p": 1.5}, "top_p", 1.5, "less than or equal to 1"),
    ({"repetition_penalty": 0.9}, "repetition_penalty", 0.9, "greater than or equal to 1"),
    ({"repetition_penalty": 11}, "repetition_penalty", 11, "less than or equal to 10"),
    ({"stop": ["a"] * 5}, "stop", ["a"] * 5, "at most 4 items"),
    ({"stop": ["a", ""]}, "stop.1", "", "at least 1 character"),
    ({"stop": TOO_LONG[:101]}, "stop.0", CUT, "at most 100 characters"),
    ({"prompt": TOO_LONG}, "prompt", CUT, "at most 100000 characters"),
    ({"prompt_from": "mind"}, "prompt_from", "mind", "'corpus'"),
    ({"unknown": "guess"}, "unknown", "guess", "'error', 'skip' or 'replace'"),
    ({"checkpoint": "newest"}, "checkpoint", "newest", "best, latest or an id"),
    ({"prefer": "x"}, "prefer", "x", "unknown field"),
    (
        {"logprobs": True, "length": 50_001, "n": 2},
        "logprobs",
        True,
        "log-probabilities of 100,000",
    ),
]
SCORES: list[Refused] = [
    ({"text": "a"}, "text", "a", "at least 2 characters"),
    ({"text": 10 * TOO_LONG}, "text", CUT, "at most 1000000 characters"),
    ({"logprobs": 1}, "logprobs", 1, "a valid boolean"),
    ({"length": 5}, "length", 5, "unknown field"),
]


@pytest.mark.parametrize(
    ("path", "refused"),
    [("/v1/train", each) for each in TRAININGS]
    + [("/v1/generate", each) for each in GENERATIONS]
    + [("/v1/score", each) for each in SCORES],
    ids=lambda each: each if isinstance(each, str) else f"{each[1]} {each[2]!r:.20}",
)
def test_values_out_of_bounds_are_named_with_the_bound(
    ann: Person, path: str, refused: Refused
) -> None:
    fields, field, value, bound = refused
    required = {"text": "ab"} if path == "/v1/score" else {}
    required["corpus" if path == "/v1/train" else "model"] = NOTHING
    body = problem(ann.post(path, required | fields), 422)
    [error] = body["errors"]
    assert (error["field"], error["value"]) == (field, value)
    assert bound in error["message"]
    assert bound in body["detail"]


def test_prompt_and_prompt_from_exclude_each_other(ann: Person) -> None:
    answer = ask(ann, NOTHING, prompt="It", prompt_from="corpus")
    assert "Leave one of them out" in problem(answer, 422)["detail"]


def test_values_at_the_bounds_are_accepted(harness: ApiHarness, ann: Person) -> None:
    most = {"deadline_seconds": A_YEAR_SECONDS, "seed": 2**53 - 1}
    model = harness.model(ann, epochs=10_000, held_out=0.5, window=4, **most)["id"]
    long = ENGLISH * (100_000 // len(ENGLISH) + 1)
    longest = long[:100_000]
    for fields in (
        {"length": 15_625, "n": 64, "top_k": 1_000_000, "prompt": longest, **most},
        {"length": 6250, "n": 10, "temperature": [{"from": 10, "to": 0}] * 16},
        {"length": 100_000, "logprobs": True, "top_p": 1, "repetition_penalty": 10},
        {"length": 1, "n": 1, "top_k": 1, "seed": 0, "stop": ["a" * 100] * 4},
    ):
        answer = ask(ann, model, **fields)
        assert answer.status_code == 202, answer.text
    answer = ann.post("/v1/score", {"model": model, "text": longest, "logprobs": True})
    assert answer.status_code == 202, answer.text


def test_limits_on_several_fields_together_are_described(ann: Person) -> None:
    """No schema can express them, so the descriptions must."""
    spec = ann.get("/openapi.json").json
    told = spec["components"]["schemas"]["GenerateRequest"]["properties"]
    assert "1,000,000 together" in told["length"]["description"]
    assert "100,000 tokens" in told["logprobs"]["description"]


@pytest.mark.parametrize(
    "name",
    ["a\x9b31m", "a\u202ea", "a\u2066a", "a\u2028a", "a\u00ada", "a\u200b", "\ufeffa", "1\u200d2"],
    ids=ascii,
)
def test_a_name_that_hides_something_is_refused_everywhere(ann: Person, name: str) -> None:
    corpus = ann.upload()
    model = ann.train(corpus, name="plain")["model"]
    root = f"/v1/users/{ann.name}/keys"
    for response in (
        ann.post("/v1/corpora", {"name": name, "text": "abc"}),
        raw(ann, b"abc", f"?name={quote(name)}"),
        ann.patch(f"/v1/corpora/{corpus}", {"name": name}),
        ann.patch(f"/v1/models/{model}", {"name": name}),
        ann.post("/v1/train", {"corpus": corpus, "name": name}),
        ann.post("/v1/generate", {"model": model, "name": name}),
        ann.post(root, {"name": name}),
    ):
        body = problem(response, 422)
        assert body["errors"][0]["field"] == "name"
        assert "must not contain" in body["detail"]


def test_joiners_inside_words_and_emoji_are_allowed_in_names(ann: Person) -> None:
    for name in ("می‌خواهم", "👩🏽‍🚀 log"):
        assert ann.post("/v1/corpora", {"name": name, "text": "abc"}).json["name"] == name
