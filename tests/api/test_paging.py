"""Pagination."""

import base64
import json

import pytest

from tests.api.harness import ApiHarness, Person, problem


def all_pages(person: Person, path: str, limit: int) -> list[str]:
    ids, cursor = [], ""
    while True:
        page = person.get(f"{path}limit={limit}{cursor}").json
        assert len(page["items"]) <= limit
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = f"&cursor={page['next_cursor']}"


def test_pages_hold_every_item_once_newest_first(ann: Person, bob: Person) -> None:
    made = []
    for number in range(7):
        made.append(ann.upload(f"text {number}", name="same" if number % 2 else "other"))
        bob.upload(f"bob's {number}")
    newest_first = made[::-1]
    for limit in (1, 2, 3, 7, 200):
        assert all_pages(ann, "/v1/corpora?", limit) == newest_first
    assert all_pages(ann, "/v1/corpora?name=same&", 2) == [made[5], made[3], made[1]]


def test_new_items_do_not_shift_pages(ann: Person) -> None:
    made = [ann.upload(f"text {number}") for number in range(4)]
    page = ann.get("/v1/corpora?limit=2").json
    ann.upload("one more")
    ann.delete(f"/v1/corpora/{made[3]}")
    rest = ann.get(f"/v1/corpora?limit=2&cursor={page['next_cursor']}").json
    assert [item["id"] for item in rest["items"]] == [made[1], made[0]]
    assert rest["next_cursor"] is None


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "%%%",
        "a" * 401,
        encoded("corpora"),
        encoded(["corpora"]),
        encoded(["corpora", "no-id"]),
        encoded(["corpora", None]),
        encoded(["corpora", 5]),
        encoded(["corpora", "01890a5d-ac96-774b-bcce-b302099a8057", 1]),
        encoded(["models", "01890a5d-ac96-774b-bcce-b302099a8057"]),
        encoded({"corpora": 1}),
    ],
)
def test_an_invalid_cursor_is_refused(ann: Person, cursor: str) -> None:
    body = problem(ann.get("/v1/corpora", query_string={"cursor": cursor}), 422)
    assert body["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("step", [-1, 2**31, 2**70, 1.5, True, "1"])
def test_a_number_in_a_cursor_has_bounds(harness: ApiHarness, ann: Person, step: object) -> None:
    job = ann.train(ann.upload())["id"]
    path = f"/v1/jobs/{job}/metrics?cursor={encoded(['metrics', step])}"
    problem(ann.get(path), 422)


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", ""])
def test_a_limit_has_bounds(ann: Person, limit: str) -> None:
    body = problem(ann.get(f"/v1/corpora?limit={limit}"), 422)
    assert body["errors"][0]["field"] == "limit"
