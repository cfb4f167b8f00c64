"""``/openai/v1/files``: texts and JSONL of texts, as corpora."""

import io
import json
from typing import Any

import pytest

from tests.api.harness import ENGLISH, ApiHarness, Person, problem
from tests.openai.calls import ROOT, error, refused_field

FILES = f"{ROOT}/files"


def upload(
    person: Person, data: bytes | str, name: str = "orwell.txt", purpose: str = "fine-tune"
) -> Any:
    content = data.encode() if isinstance(data, str) else data
    form = {"purpose": purpose, "file": (io.BytesIO(content), name)}
    return person.send("POST", FILES, data=form)


def jsonl(*items: Any) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def test_a_text_is_a_file_and_a_corpus(ann: Person) -> None:
    answer = upload(ann, ENGLISH)
    assert answer.status_code == 200, answer.text
    corpus = ann.get(f"/v1/corpora/{answer.json['id']}").json
    assert (corpus["name"], corpus["visibility"]) == ("orwell.txt", "private")
    assert isinstance(answer.json["created_at"], int)
    assert answer.json == {
        "id": corpus["id"],
        "object": "file",
        "bytes": len(ENGLISH),
        "created_at": answer.json["created_at"],
        "expires_at": None,
        "filename": "orwell.txt",
        "purpose": "fine-tune",
        "status": "processed",
        "status_details": None,
    }
    assert ann.get(f"{FILES}/{corpus['id']}").json == answer.json
    for accept in ("application/json", "application/binary", "image/png"):
        content = ann.get(f"{FILES}/{corpus['id']}/content", headers={"Accept": accept})
        assert (content.status_code, content.text) == (200, ENGLISH)


@pytest.mark.parametrize("name", ["letters.jsonl", "upload", "LETTERS.JSONL"])
def test_jsonl_of_texts_becomes_items(ann: Person, name: str) -> None:
    items = ({"text": "Dear Ann,\nhow are you?"}, {"text": "Dear Bob,\u2028no."})
    data = "\ufeff" + jsonl(items[0]) + "\n  \n" + json.dumps(items[1], ensure_ascii=False)
    answer = upload(ann, data, name)
    assert answer.status_code == 200, answer.text
    content = ann.get(f"{FILES}/{answer.json['id']}/content").text
    assert content == "Dear Ann,\nhow are you?\n\nDear Bob,\nno."


def test_a_text_that_begins_with_a_brace_is_a_text(ann: Person) -> None:
    for text in ("{ a set }\n" * 3, '{"a": 1}\nis JSON\n', "[1]\n2\n"):
        file = upload(ann, text).json["id"]
        assert ann.get(f"{FILES}/{file}/content").text == text


REFUSED: list[tuple[bytes | str, str, str]] = [
    (jsonl({"messages": [{"role": "user"}]}), "a.jsonl", "line 1 is a conversation"),
    (jsonl({"messages": []}), "upload", "line 1 is a conversation"),
    (jsonl({"text": "a"}, {"prompt": "a", "completion": "b"}), "a.jsonl", "line 2 must be"),
    (jsonl({"text": "a", "weight": 1}), "a.jsonl", "line 1 must be"),
    (jsonl({"text": 5}), "a.jsonl", "line 1 must be"),
    (jsonl(["text"]), "a.jsonl", "line 1 must be"),
    (jsonl({"text": "a"}) + "{", "a.jsonl", "line 2 is not JSON"),
    ("[" * 100_000, "a.jsonl", "line 1 is not JSON"),
    (jsonl({"text": "\ud800"}), "a.jsonl", "U+D800"),
    (jsonl({"text": "a\0b"}), "a.jsonl", "U+0000"),
    (b'{"text": "\xff"}', "a.jsonl", "not UTF-8"),
    ("Был холодный ясный день".encode("cp1251"), "a.txt", "declare encoding=cp1251"),
    (b"%PDF-1.7\n%\xe2\xe3", "a.pdf", "PDF"),
    ("", "a.txt", "empty"),
    ("", "a.jsonl", "empty"),
]


def test_what_is_no_text_is_refused(ann: Person) -> None:
    for data, name, words in REFUSED:
        _, message = refused_field(upload(ann, data, name))
        assert words in message, (name, message)
    assert ann.items("/v1/corpora") == []


def test_the_form_is_checked(ann: Person) -> None:
    assert refused_field(upload(ann, ENGLISH, purpose="assistants"))[0] == "purpose"
    form = {"content_type": "multipart/form-data"}
    for fields, field in (
        ({"purpose": "fine-tune"}, "file"),
        ({"purpose": "fine-tune", "x": "y"}, "x"),
        ({"purpose": "fine-tune", "expires_after[seconds]": "9"}, "expires_after[seconds]"),
        ({"file": (io.BytesIO(b"x"), "x")}, "purpose"),
        ({"purpose": "fine-tune", "file": (io.BytesIO(b"x"), "x"), "encoding": "x"}, "encoding"),
    ):
        assert refused_field(ann.send("POST", FILES, data=fields, **form))[0] == field
    assert error(ann.post(FILES, {"purpose": "fine-tune"}), 415)["param"] is None
    large = upload(ann, b"x" * (12 * 1024 * 1024 + 1))
    assert error(large, 413)["code"] == "too_large"
    assert "12,582,912" in large.json["error"]["message"]


def test_an_encoding_may_be_declared(ann: Person) -> None:
    form = {"purpose": "fine-tune", "encoding": "cp1251"}
    file = form | {"file": (io.BytesIO("яснo и просто".encode("cp1251", "replace")), "a.txt")}
    answer = ann.send("POST", FILES, data=file)
    assert answer.status_code == 200, answer.text
    assert "просто" in ann.get(f"{FILES}/{answer.json['id']}/content").text


def test_files_are_listed_by_pages(ann: Person) -> None:
    assert ann.get(FILES).json == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    made = [upload(ann, f"{ENGLISH}{number}").json["id"] for number in range(3)]
    newest = made[::-1]
    first = ann.get(f"{FILES}?limit=2").json
    assert [file["id"] for file in first["data"]] == newest[:2]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (*newest[:2], True)
    rest = ann.get(f"{FILES}?limit=2&after={first['last_id']}").json
    assert ([file["id"] for file in rest["data"]], rest["has_more"]) == (newest[2:], False)
    oldest = ann.get(f"{FILES}?order=asc&after={made[0]}&purpose=fine-tune").json
    assert [file["id"] for file in oldest["data"]] == made[1:]
    assert ann.get(f"{FILES}?purpose=batch").json["data"] == []
    for query in ("limit=0", "limit=x", "order=up", "after=none", "before=x"):
        assert refused_field(ann.get(f"{FILES}?{query}"))[0] == query.partition("=")[0]


def test_another_users_private_file_is_like_a_missing_one(ann: Person, bob: Person) -> None:
    file = upload(ann, ENGLISH).json["id"]
    asked = [f"{FILES}/{file}", f"{FILES}/{file}/content"]

    def answers() -> list[Any]:
        sent = [*map(bob.get, asked), bob.delete(asked[0])]
        return [(answer.status_code, answer.get_data()) for answer in sent]

    private = answers()
    assert {status for status, _ in private} == {404}
    assert bob.get(FILES).json["data"] == []
    assert ann.delete(asked[0]).json == {"id": file, "object": "file", "deleted": True}
    assert answers() == private


def test_shared_files_can_be_read_and_not_deleted(ann: Person, bob: Person) -> None:
    file = upload(ann, ENGLISH).json["id"]
    assert ann.patch(f"/v1/corpora/{file}", {"visibility": "server"}).status_code == 200
    assert bob.get(f"{FILES}/{file}/content").text == ENGLISH
    assert [each["id"] for each in bob.get(FILES).json["data"]] == [file]
    assert error(bob.delete(f"{FILES}/{file}"), 403)["type"] == "permission_error"


def test_a_file_in_use_stays(harness: ApiHarness, ann: Person) -> None:
    file = upload(ann, ENGLISH).json["id"]
    ann.train(file)
    answer = ann.delete(f"{FILES}/{file}")
    assert error(answer, 409)["code"] == "still_needed"
    assert answer.headers["x-should-retry"] == "false"


def test_an_upload_with_a_key_is_stored_once(ann: Person) -> None:
    def send(text: str) -> Any:
        form = {"purpose": "fine-tune", "file": (io.BytesIO(text.encode()), "a.txt")}
        return ann.send("POST", FILES, data=form, headers={"Idempotency-Key": "once"})

    assert send(ENGLISH).json == send(ENGLISH).json
    assert len(ann.items("/v1/corpora")) == 1
    assert error(send(ENGLISH + "x"), 409)["code"] == "idempotency_key_reused"
    problem(ann.get("/v1/files"), 404)
