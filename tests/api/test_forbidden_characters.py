"""A walk over the OpenAPI document: no string field takes what can't be stored."""

import copy
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.http.openapi import describe
from tests.api.harness import ApiHarness, Person, problem

FORBIDDEN = {
    "U+0000": "\\u0000",
    "U+D800": "\\ud800",
    "U+FFFE": "\\ufffe",
    "U+1FFFF": "\\ud83f\\udfff",
}
MARK = "HERE"
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def resolved(document: Any, schema: Any) -> Any:
    while "$ref" in schema:
        found = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def string_places(document: Any, schema: Any) -> Iterator[Any]:
    """Values of a schema, each with `MARK` in another of its strings."""
    schema = resolved(document, schema)
    for key in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(key, ()):
            yield from string_places(document, option)
    if schema.get("type") == "string" and schema.get("format") != "binary":
        yield f"a{MARK}b"
    elif schema.get("type") == "array":
        yield from ([value] for value in string_places(document, schema.get("items", {})))
    for name, inner in schema.get("properties", {}).items():
        yield from ({name: value} for value in string_places(document, inner))


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1"):
                yield method.upper(), path, operation


@pytest.mark.parametrize("character", FORBIDDEN)
def test_every_string_of_every_body_refuses_it(
    harness: ApiHarness, admin: Person, character: str
) -> None:
    document = copy.deepcopy(describe(harness.app))
    tried = 0
    for method, path, operation in operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is None:
            continue
        schema = body["schema"]
        for value in [*string_places(document, schema), {f"x{MARK}": 1}, {"x": [{"y": MARK}]}]:
            data = json.dumps(value).replace(MARK, FORBIDDEN[character]).encode()
            answer = admin.send(
                method,
                path.replace("{", "").replace("}", "").replace("/id", f"/{ID}"),
                data=data,
                content_type="application/json",
            )
            assert character in problem(answer, 422)["detail"], (method, path, value)
            tried += 1
    assert tried > 30


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("written", [*FORBIDDEN.values(), "\ufffe", "\U0001ffff"])
def test_a_body_refuses_it_in_whatever_encoding(ann: Person, written: str, encoding: str) -> None:
    body = f'{{"model": "{ID}", "prompt": "a{written}b"}}'.encode(encoding)
    answer = ann.send("POST", "/v1/generate", data=body, content_type="application/json")
    assert "must not contain U+" in problem(answer, 422)["detail"]


@pytest.mark.parametrize("written", ["%00", "%EF%BF%BE", "%F0%9F%BF%BF"])
def test_every_parameter_refuses_it(harness: ApiHarness, admin: Person, written: str) -> None:
    document = describe(harness.app)
    tried = 0
    for method, path, operation in operations(document):
        address = path.replace("{id}", ID).replace("{", "").replace("}", "")
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                target = f"{address}?{parameter['name']}=a{written}b"
            elif parameter["in"] == "path":
                target = path.replace(f"{{{parameter['name']}}}", f"a{written}b")
                target = target.replace("{id}", ID).replace("{", "").replace("}", "")
            else:
                continue
            answer = admin.send(method, target)
            assert answer.status_code in (404, 415, 422), (method, target, answer.text)
            tried += 1
        answer = admin.send(method, f"{address}?x{written}=1")
        assert answer.status_code in (404, 415, 422), (method, address, answer.text)
    assert tried > 40


def test_forms_and_file_names_refuse_it_too(ann: Person) -> None:
    for name in ("name", "encoding", "visibility"):
        form = {"file": (io.BytesIO(b"abc"), "a.txt"), name: "a\0b"}
        problem(ann.post("/v1/corpora", data=form), 422)
    named = {"file": (io.BytesIO(b"abc"), "a\ufffeb.txt")}
    answer = ann.post("/v1/corpora", data=named)
    assert answer.status_code == 201, answer.text
    assert answer.json["name"] == "ab.txt"


def test_a_name_has_no_controls_and_no_marks_of_direction(ann: Person) -> None:
    for name in ("\u009b31mred", "a\u202etxt", "a\u2066b", "a\u2028b", "\x1b[31m", "a\ufeffb"):
        detail = problem(ann.post("/v1/corpora", {"name": name, "text": "abc"}), 422)["detail"]
        assert "name" in detail
