"""Corpora over HTTP: three ways to upload, and what is refused."""

import hashlib
import io

import pytest
from werkzeug.test import TestResponse

from tests.api.conftest import MAX_CORPUS_BYTES
from tests.api.harness import ENGLISH, ApiHarness, Person, assert_succeeded, problem

JSON = "application/json"
FORM = "multipart/form-data"
TEXT = "Zarathustra sprach:\n«Nicht doch» und ging.\n"


def form(data: bytes, filename: str = "book.txt", **fields: str) -> dict[str, object]:
    return {"file": (io.BytesIO(data), filename), **fields}


def raw(person: Person, data: bytes, query: str = "", kind: str = "text/plain") -> TestResponse:
    return person.post(f"/v1/corpora{query}", data=data, content_type=kind)


def test_a_text_can_be_uploaded_in_three_ways(ann: Person) -> None:
    data = TEXT.encode()
    answers = [
        ann.post("/v1/corpora", {"name": "zara", "text": TEXT, "visibility": "server"}),
        raw(ann, data, "?name=zara&visibility=server"),
        raw(ann, data, "?name=zara&visibility=server", "application/octet-stream"),
        ann.post("/v1/corpora", data=form(data, name="zara", visibility="server")),
    ]
    for answer in answers:
        assert answer.status_code == 201, answer.text
        corpus = answer.json
        assert answer.headers["Location"] == f"/v1/corpora/{corpus['id']}"
        assert corpus | {"id": "", "created_at": ""} == {
            "id": "",
            "name": "zara",
            "visibility": "server",
            "group": None,
            "allow_excerpts": False,
            "owner": "ann",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "characters": len(TEXT),
            "distinct_characters": len(set(TEXT)),
            "encoding": "utf-8",
            "findings": corpus["findings"],
            "parts": [],
            "items": None,
            "created_at": "",
        }
        assert [finding["code"] for finding in corpus["findings"]] == ["few_characters"]
        assert corpus["created_at"].endswith("Z")
        assert ann.get(f"/v1/corpora/{corpus['id']}").json == corpus
        text = ann.get(f"/v1/corpora/{corpus['id']}/text", headers={"Accept": "application/json"})
        assert text.content_type == "text/plain; charset=utf-8"
        assert text.get_data(as_text=True) == TEXT
    assert len({answer.json["id"] for answer in answers}) == 4


def test_the_default_name_is_the_file_name_or_untitled(ann: Person) -> None:
    named = ann.post("/v1/corpora", data=form(b"abc", "../dir/my book.txt"))
    assert named.json["name"] == "my book.txt"
    assert named.json["visibility"] == "private"
    assert raw(ann, b"abc").json["name"] == "untitled"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "déjà vu, naïve façade"),
        ("gb18030", "滿紙荒唐言,一把辛酸淚"),
        ("utf-16", "都云作者癡,誰解其中味"),
        ("utf-8-sig", "with a mark"),
    ],
)
def test_a_declared_encoding_is_decoded(ann: Person, encoding: str, text: str) -> None:
    data = text.encode(encoding)
    for answer in (
        raw(ann, data, f"?encoding={encoding}"),
        raw(ann, data, "", f"text/plain; charset={encoding}"),
        ann.post("/v1/corpora", data=form(data, encoding=encoding)),
    ):
        assert_succeeded(answer)
        path = f"/v1/corpora/{answer.json['id']}/text"
        assert ann.get(path).get_data(as_text=True) == text


def test_line_ends_and_a_bom_are_normalised(ann: Person) -> None:
    data = "\ufeffone\r\ntwo\rthree\n".encode()
    answer = raw(ann, data)
    text = ann.get(f"/v1/corpora/{answer.json['id']}/text").get_data(as_text=True)
    assert text == "one\ntwo\nthree\n"
    assert answer.json["characters"] == len(text)


def test_invalid_utf8_is_refused_with_its_offset(ann: Person) -> None:
    data = b"good until here: \xe9 bad"
    for answer in (raw(ann, data), ann.post("/v1/corpora", data=form(data))):
        body = problem(answer, 422)
        assert "0xe9 at offset 17" in body["detail"]
        assert "encoding=" in body["detail"]
        assert body["errors"][0]["field"] == "text"


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_text_is_refused(ann: Person, data: bytes) -> None:
    assert "empty" in problem(raw(ann, data), 422)["detail"]


def test_characters_that_databases_can_not_store_are_refused(ann: Person) -> None:
    assert "U+0000 at position 2" in problem(raw(ann, b"ab\0c"), 422)["detail"]
    lone = ann.post("/v1/corpora", data=b'{"name":"x","text":"a\\ud800"}', content_type=JSON)
    problem(lone, 422)


def test_an_invalid_form_is_refused(ann: Person) -> None:
    post = ann.post
    assert (
        "file" in problem(post("/v1/corpora", data={"name": "x"}, content_type=FORM), 422)["detail"]
    )
    unknown = form(b"abc", colour="red")
    assert "colour" in problem(post("/v1/corpora", data=unknown), 422)["detail"]
    two = {"file": (io.BytesIO(b"a"), "a"), "other": (io.BytesIO(b"b"), "b")}
    assert "other" in problem(post("/v1/corpora", data=two), 422)["detail"]
    both = post("/v1/corpora?name=x", data=form(b"abc"))
    assert "body" in problem(both, 422)["detail"]
    not_a_file = {"file": "a text without a file name"}
    problem(post("/v1/corpora", data=not_a_file, content_type=FORM), 422)


def test_an_unsupported_media_type_is_refused_with_the_supported_ones(ann: Person) -> None:
    for kind in ("application/pdf", ""):
        answer = ann.post("/v1/corpora", data=b"abc", content_type=kind)
        assert "multipart/form-data" in problem(answer, 415)["detail"]
        assert "text/plain" in answer.headers["Accept-Post"]


def test_ten_megabytes_are_accepted_and_more_than_twelve_refused(
    harness: ApiHarness, ann: Person
) -> None:
    data = (ENGLISH * 4).encode()
    data = data * (10_000_000 // len(data) + 1)
    for answer in (raw(ann, data), ann.post("/v1/corpora", data=form(data))):
        assert_succeeded(answer)
        assert answer.json["bytes"] == len(data)
    kept = ann.get(f"/v1/corpora/{answer.json['id']}/text")
    assert kept.content_length == len(data)
    assert kept.get_data() == data
    for too_much in (
        raw(ann, b"x" * (MAX_CORPUS_BYTES + 1)),
        ann.post("/v1/corpora", data=form(b"x" * (MAX_CORPUS_BYTES + 1))),
        ann.post("/v1/corpora", {"name": "x", "text": "x" * (MAX_CORPUS_BYTES + 1)}),
        ann.post("/v1/corpora", {"name": "x", "text": "x" * (MAX_CORPUS_BYTES + 100_000)}),
    ):
        assert f"{MAX_CORPUS_BYTES:,}" in problem(too_much, 413)["detail"]
    assert raw(ann, b"x" * MAX_CORPUS_BYTES).status_code == 201


def test_owners_can_rename_and_share(ann: Person, bob: Person) -> None:
    corpus = ann.upload()
    path = f"/v1/corpora/{corpus}"
    assert ann.patch(path, {"name": " a better name "}).json["name"] == "a better name"
    problem(bob.get(path), 404)
    assert ann.patch(path, {"visibility": "server"}).json["visibility"] == "server"
    seen = bob.get(path).json
    assert (seen["owner"], seen["name"]) == ("ann", "a better name")
    assert bob.get(f"{path}/text").status_code == 200
    assert "owner" in problem(bob.patch(path, {"name": "mine"}), 403)["detail"]
    problem(bob.delete(path), 403)
    for wrong in ({}, {"name": ""}, {"name": None}, {"owner": "bob"}, {"visibility": "all"}):
        problem(ann.patch(path, wrong), 422)


def test_lists_can_be_filtered(ann: Person, bob: Person) -> None:
    first, second = ann.upload(name="a"), ann.upload(name="b", visibility="server")
    bob.upload(name="a")
    other = bob.upload(name="c", visibility="server")

    def ids(person: Person, query: str = "") -> list[str]:
        return [item["id"] for item in person.items(f"/v1/corpora{query}")]

    assert ids(ann) == [other, second, first]
    assert ids(ann, "?name=a") == [first]
    assert ids(ann, "?visibility=server") == [other, second]
    assert ids(ann, "?visibility=private") == [first]
    assert ids(ann, "?name=A") == []


def test_a_corpus_in_use_is_not_deleted_and_other_users_names_stay_hidden(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload(visibility="server")
    path = f"/v1/corpora/{corpus}"
    mine = ann.train(corpus, name="my own model")
    theirs = bob.train(corpus, name="a secret of bob's")
    detail = problem(ann.delete(path), 409)["detail"]
    assert "your model 'my own model'" in detail
    assert "model of other users" in detail
    assert "secret" not in detail
    for person, job in ((ann, mine), (bob, theirs)):
        assert person.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
        assert person.delete(f"/v1/models/{job['model']}").status_code == 204
    assert ann.delete(path).status_code == 204
    problem(ann.get(path), 404)
    assert ann.get(f"/v1/jobs/{mine['id']}").json["corpus"] is None
