"""Texts that come in: kinds of uploads, dry runs, and prompts in another spelling."""

import gzip
import io
import unicodedata
from typing import Any

import pytest

from tests.api.harness import ENGLISH, ApiHarness, Person, assert_succeeded, problem
from tests.texts_refused import REFUSED

FRENCH = "L'été, l'école éclaire la forêt à côté.\n" * 60


def raw(person: Person, data: bytes, query: str = "") -> Any:
    return person.post(f"/v1/corpora{query}", data=data, content_type="text/plain")


def codes(body: Any) -> list[str]:
    return [finding["code"] for finding in body["findings"]]


def test_a_dry_run_tells_and_keeps_nothing(ann: Person) -> None:
    data = FRENCH.encode("utf-16")
    form = {"file": (io.BytesIO(data), "a.txt")}
    for answer in (
        raw(ann, data, "?dry_run=true"),
        ann.post("/v1/corpora?dry_run=true", data=form),
        ann.post("/v1/corpora?dry_run=true", {"name": "x", "text": FRENCH}),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.json["characters"] == len(FRENCH)
        assert "few_characters" in codes(answer.json)
    assert codes(raw(ann, data, "?dry_run=true").json)[0] == "encoding"
    assert ann.items("/v1/corpora") == []
    problem(raw(ann, b"\xff\xff", "?dry_run=true"), 422)


def test_an_upload_keeps_its_findings(ann: Person) -> None:
    made = raw(ann, gzip.compress(FRENCH.encode()))
    assert_succeeded(made)
    assert codes(made.json) == ["archive", "list", "few_characters"]
    kept = ann.get(f"/v1/corpora/{made.json['id']}").json
    assert kept["findings"] == made.json["findings"]
    assert all(set(finding) == {"code", "message", "ways"} for finding in kept["findings"])


def test_several_files_make_one_corpus(ann: Person) -> None:
    files = [(io.BytesIO(b"one"), "a.txt"), (io.BytesIO("zwö\n".encode("utf-16")), "b.txt")]
    made = ann.post("/v1/corpora", data={"file": files, "name": "both"})
    assert_succeeded(made)
    assert made.json["parts"] == [
        {"name": "a.txt", "characters": 4},
        {"name": "b.txt", "characters": 4},
    ]
    text = ann.get(f"/v1/corpora/{made.json['id']}/text").get_data(as_text=True)
    assert text == "one\nzwö\n"


def test_options_of_an_upload(ann: Person) -> None:
    broken = "naïve café\n".encode() * 3 + b"a\xffb"
    assert "on_invalid=replace" in problem(raw(ann, broken), 422)["detail"]
    for option, text in (("drop", "ab"), ("replace", "a\ufffdb")):
        made = raw(ann, broken, f"?on_invalid={option}")
        assert_succeeded(made)
        kept = ann.get(f"/v1/corpora/{made.json['id']}/text").get_data(as_text=True)
        assert kept.endswith(text)
    mixed = "café cafe\u0301\n"
    assert "mixed_forms" in codes(ann.post("/v1/corpora", {"name": "x", "text": mixed}).json)
    made = ann.post("/v1/corpora", {"name": "x", "text": mixed, "normalize": "nfd"})
    assert made.json["characters"] == len(unicodedata.normalize("NFD", mixed))
    punycode = raw(ann, b"abc-99a", "?encoding=punycode")
    assert "cp1252" in problem(punycode, 422)["detail"]


@pytest.mark.parametrize(("corpus_form", "other"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_the_other_normal_form_is_the_same_text(
    harness: ApiHarness, ann: Person, corpus_form: Any, other: Any
) -> None:
    corpus = ann.upload(unicodedata.normalize(corpus_form, FRENCH))
    model = harness.model(ann, corpus)["id"]
    prompt = unicodedata.normalize(other, "L'été")
    right = unicodedata.normalize(corpus_form, "L'été")
    for unknown in ("error", "skip", "replace"):
        body = {"model": model, "prompt": prompt, "unknown": unknown}
        made = ann.post("/v1/generate", {**body, "stop": unicodedata.normalize(other, "é")})
        assert_succeeded(made)
        assert made.json["spec"]["prompt"] == right
        assert made.json["spec"]["stop"] == [unicodedata.normalize(corpus_form, "é")]
    made = ann.post("/v1/score", {"model": model, "text": f"\ufeff{prompt}\r\n"})
    assert_succeeded(made)
    assert made.json["spec"]["prompt"] == f"{right}\n"


def test_skipping_takes_a_letter_with_its_marks(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann, ann.upload(ENGLISH))["id"]
    for form in ("NFC", "NFD"):
        prompt = unicodedata.normalize(form, "it waé is")
        made = ann.post("/v1/generate", {"model": model, "prompt": prompt, "unknown": "skip"})
        assert made.json["spec"]["prompt"] == "it wa is"


def test_what_the_model_can_never_write_is_refused(harness: ApiHarness, ann: Person) -> None:
    model = harness.model(ann, ann.upload(ENGLISH))["id"]
    for stop in ("\\n", "<|endoftext|>", ["It", "€"]):
        for unknown in ("error", "skip"):
            body = {"model": model, "prompt": "It", "stop": stop, "unknown": unknown}
            detail = problem(ann.post("/v1/generate", body), 422)["detail"]
            assert detail.startswith("stop: ")
            assert "never write" in detail
            assert ("$'\\n'" in detail) == (stop == "\\n")
    detail = problem(ann.post("/v1/generate", {"model": model, "prompt": "\\nIt"}), 422)["detail"]
    assert "$'\\n'" in detail
    assert_succeeded(ann.post("/v1/generate", {"model": model, "stop": ["\n", "It\r\n"]}))


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_carries_its_code_and_the_ways_out(ann: Person, code: str) -> None:
    data, encoding = REFUSED[code]
    query = "" if encoding is None else f"?encoding={encoding}"
    form = {"file": (io.BytesIO(data), "a.txt"), **({"encoding": encoding} if encoding else {})}
    for answer in (raw(ann, data, query), ann.post("/v1/corpora", data=form)):
        told = problem(answer, 422)
        assert told["code"] == code
        assert told["ways"]
        assert all(way in told["detail"] for way in told["ways"])


def test_a_character_is_refused_with_a_code_wherever_it_comes_in(
    harness: ApiHarness, ann: Person
) -> None:
    model = harness.model(ann, ann.upload(ENGLISH))["id"]
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/corpora", {"name": "x", "text": "a\0b"}),
        ("/v1/corpora", {"name": "x\ud800", "text": "ab"}),
        ("/v1/generate", {"model": model, "prompt": "It\uffff"}),
        ("/v1/score", {"model": model, "text": "It\0"}),
    ]
    for path, body in bodies:
        told = problem(ann.post(path, body), 422)
        assert (told["code"], bool(told["ways"])) == ("forbidden_character", True)
    unknown: list[tuple[str, dict[str, Any]]] = [
        ("/v1/generate", {"prompt": "It €"}),
        ("/v1/generate", {"prompt": "It", "stop": "€"}),
        ("/v1/score", {"text": "It €"}),
    ]
    for path, body in unknown:
        told = problem(ann.post(path, {"model": model, **body}), 422)
        assert (told["code"], bool(told["ways"])) == ("unknown_character", True)
    told = problem(ann.post("/v1/generate", {"model": model, "length": 0}), 422)
    assert (told["code"], told["ways"]) == (None, [])


def test_the_document_says_which_codes_there_are(ann: Person) -> None:
    told = ann.get("/openapi.json").json["components"]["schemas"]["Problem"]["properties"]
    assert all(code in told["code"]["description"] for code in REFUSED)
    assert told["ways"]["type"] == "array"
