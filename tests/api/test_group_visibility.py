"""What is shared with a group: its live members see it, and nobody else does."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from api.operations.library import sharing
from tests.api.harness import ApiHarness, Person, problem
from tests.api.test_groups import UNKNOWN_ID, end


@pytest.fixture
def eve(harness: ApiHarness) -> Person:
    """A stranger to the group."""
    return harness.person("eve")


@pytest.fixture
def shared(harness: ApiHarness, admin: Person, ann: Person, bob: Person) -> Any:
    """A model of ann's that is shared with a group of ann and bob, and its private corpus."""
    admin.post("/v1/groups", {"name": "class"})
    for name in ("ann", "bob"):
        admin.post("/v1/groups/class/members", {"user": name})
    model = harness.model(ann)
    told = ann.patch(f"/v1/models/{model['id']}", {"visibility": "group", "group": "class"})
    assert (told.json["visibility"], told.json["group"]) == ("group", "class")
    return told.json


def routes(model: Any) -> list[tuple[str, str, Any]]:
    """Requests that need sight of the model."""
    return [
        ("GET", f"/v1/models/{model['id']}", None),
        ("GET", f"/v1/models/{model['id']}/checkpoints", None),
        ("GET", f"/v1/models/{model['id']}/checkpoints/best", None),
        ("GET", f"/v1/checkpoints/{model['checkpoints']['best']}", None),
        ("GET", f"/v1/checkpoints/{model['checkpoints']['best']}/download", None),
        ("POST", "/v1/generate", {"model": model["id"], "prompt": "It "}),
        ("POST", "/v1/score", {"model": model["id"], "text": "It was"}),
    ]


def statuses(person: Person, model: Any) -> set[int]:
    return {
        person.send(method, path, json=body).status_code for method, path, body in routes(model)
    }


def names(person: Person, query: str = "") -> list[str]:
    return [each["name"] for each in person.items(f"/v1/models{query}")]


def test_a_group_s_members_see_and_use_what_is_shared_with_it(
    shared: Any, ann: Person, bob: Person, eve: Person, admin: Person
) -> None:
    assert statuses(bob, shared) == {200, 202}
    assert names(bob) == names(bob, "?visibility=group") == [shared["name"]]
    assert names(bob, "?visibility=private") == names(bob, "?visibility=server") == []
    assert names(ann, "?visibility=group") == [shared["name"]]
    assert names(ann, "?visibility=private") == []
    found = bob.get(f"/v1/models/{shared['id']}").json
    assert (found["visibility"], found["group"], found["owner"]) == ("group", "class", "ann")
    assert (found["corpus"], found["corpus_sha256"], found["job"]) == (None, None, None)
    problem(bob.patch(f"/v1/models/{shared['id']}", {"name": "mine"}), 403)
    for person in (eve, admin):
        assert statuses(person, shared) == {404}
        assert names(person) == names(person, "?visibility=group") == []


def test_a_corpus_is_shared_with_a_group_as_a_model_is(
    shared: Any, ann: Person, bob: Person, eve: Person
) -> None:
    path = f"/v1/corpora/{shared['corpus']}"
    request = {"model": shared["id"], "length": 5}
    problem(bob.get(f"{path}/text"), 404)
    problem(bob.post("/v1/generate", request), 422)  # no prompt, and the corpus is private
    told = ann.patch(path, {"visibility": "group", "group": "class", "name": "ours"}).json
    assert (told["visibility"], told["group"], told["name"]) == ("group", "class", "ours")
    assert bob.get(f"{path}/text").status_code == 200
    assert [each["group"] for each in bob.items("/v1/corpora?visibility=group")] == ["class"]
    assert bob.get(f"/v1/models/{shared['id']}").json["corpus"] == shared["corpus"]
    assert bob.post("/v1/generate", request).status_code == 202
    assert bob.post("/v1/train", {"corpus": shared["corpus"]}).status_code == 202
    checkpoint = shared["checkpoints"]["best"]
    continued = {"corpus": shared["corpus"], "from": checkpoint}
    assert bob.post("/v1/train", continued).status_code == 202
    problem(eve.get(f"{path}/text"), 404)
    problem(eve.post("/v1/train", {"corpus": shared["corpus"]}), 404)
    assert ann.patch(path, {"visibility": "private"}).json["group"] is None
    problem(bob.get(path), 404)


@pytest.mark.parametrize("how", ["ended", "left", "owner left", "deleted", "private"])
def test_sight_ends_with_the_group_the_membership_and_the_sharing(
    how: str, harness: ApiHarness, shared: Any, ann: Person, bob: Person, admin: Person
) -> None:
    queued = bob.post("/v1/generate", {"model": shared["id"], "prompt": "It "}).json
    if how == "ended":
        end(admin, "class")
    elif how == "left":
        admin.delete("/v1/groups/class/members/bob")
    elif how == "owner left":
        admin.delete("/v1/groups/class/members/ann")
    elif how == "deleted":
        admin.delete("/v1/groups/class")
    else:
        ann.patch(f"/v1/models/{shared['id']}", {"visibility": "private"})
    assert statuses(bob, shared) == {404}
    assert names(bob) == []
    assert statuses(ann, shared) == {200, 202}
    seen = ann.get(f"/v1/models/{shared['id']}").json
    kept = how in ("ended", "left")
    assert (seen["visibility"], seen["group"]) == (
        ("group", "class") if kept else ("private", None)
    )
    # As for a model that is no longer shared with the server: what was accepted runs.
    harness.write(queued)
    assert bob.get(f"/v1/jobs/{queued['id']}").json["status"] == "succeeded"
    problem(bob.post(f"/v1/jobs/{queued['id']}/rerun"), 409)
    if how == "ended":
        admin.patch("/v1/groups/class", {"ends_at": None})
        assert statuses(bob, shared) == {200, 202}


def test_who_is_removed_while_they_share_shares_nothing(
    shared: Any,
    ann: Person,
    bob: Person,
    admin: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann.patch(f"/v1/models/{shared['id']}", {"visibility": "private"})
    find = sharing.find_group_to_share_with
    with ThreadPoolExecutor(1) as pool:

        def find_and_be_removed(*arguments: Any) -> Any:
            found = find(*arguments)
            removed.append(pool.submit(admin.delete, "/v1/groups/class/members/ann"))
            wait(removed, timeout=0.5)  # it stands before the lock, or has broken the promise
            return found

        removed: list[Any] = []
        monkeypatch.setattr(sharing, "find_group_to_share_with", find_and_be_removed)
        body = {"visibility": "group", "group": "class"}
        assert ann.patch(f"/v1/models/{shared['id']}", body).status_code == 200
        assert removed[0].result().status_code == 204
    assert ann.get(f"/v1/models/{shared['id']}").json["visibility"] == "private"
    assert statuses(bob, shared) == {404}


def test_one_shares_with_one_s_own_live_groups_only(
    shared: Any, ann: Person, eve: Person, admin: Person
) -> None:
    admin.post("/v1/groups", {"name": "other"})
    path = f"/v1/models/{shared['id']}"
    answers = [
        problem(ann.patch(path, {"visibility": "group", "group": name}), 422)
        for name in ("other", "nothing", UNKNOWN_ID)
    ]
    for answer in answers:
        assert answer["errors"][0]["field"] == "group"
    assert answers[0]["detail"] == answers[1]["detail"] == answers[2]["detail"]
    for wrong in (
        {"visibility": "group"},
        {"group": "class"},
        {"visibility": "server", "group": "class"},
        {"visibility": "group", "group": ""},
        {"visibility": "group", "group": None},
        {"visibility": "everyone"},
    ):
        problem(ann.patch(path, wrong), 422)
    assert ann.get(path).json["group"] == "class"
    end(admin, "class")
    problem(ann.patch(path, {"visibility": "group", "group": "class"}), 422)
    assert ann.patch(path, {"visibility": "server"}).json["group"] is None
    assert statuses(eve, shared) == {200, 202}
    # What is new is shared with a group once it is there.
    problem(ann.post("/v1/corpora", {"name": "a", "text": "b", "visibility": "group"}), 422)


def test_a_teacher_sees_what_is_shared_with_the_group_and_nothing_else(
    harness: ApiHarness, shared: Any, ann: Person, admin: Person
) -> None:
    teacher = harness.person("tess")
    admin.post("/v1/groups/class/members", {"user": "tess", "role": "teacher"})
    assert statuses(teacher, shared) == {200, 202}
    problem(teacher.get(f"/v1/corpora/{shared['corpus']}"), 404)
    problem(teacher.get(f"/v1/jobs/{shared['job']}"), 404)
    ann.patch(f"/v1/models/{shared['id']}", {"visibility": "private"})
    assert statuses(teacher, shared) == {404}
