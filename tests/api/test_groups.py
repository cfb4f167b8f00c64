"""Groups: who makes them, what their teachers may do, and what ends with them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.harness import ApiHarness, Person, problem

UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def end(admin: Person, name: str) -> None:
    """Let a group end now."""
    assert admin.patch(f"/v1/groups/{name}", {"ends_at": in_seconds(-1)}).json["ended"] is True


@pytest.fixture
def teacher(harness: ApiHarness) -> Person:
    return harness.person("tess")


@pytest.fixture
def school(admin: Person, teacher: Person, ann: Person) -> Any:
    """A class with its teacher, and ann as a member."""
    made = admin.post("/v1/groups", {"name": "class", "max_running": 4})
    assert made.status_code == 201, made.text
    for name, role in (("tess", "teacher"), ("ann", "member")):
        added = admin.post("/v1/groups/class/members", {"user": name, "role": role})
        assert added.status_code == 201, added.text
    return made.json


def test_an_admin_makes_changes_and_deletes_groups(
    admin: Person, school: Any, ann: Person, bob: Person
) -> None:
    assert (school["ends_at"], school["ended"], school["role"]) == (None, False, None)
    assert school["max_running"] == 4
    assert problem(admin.post("/v1/groups", {"name": "class"}), 409)["detail"].startswith("a group")
    for wrong in (
        {},
        {"name": "a b"},
        {"name": "x", "max_running": -1},
        {"name": "x", "member_max_queued": 1.5},
        {"name": "x", "ends_at": "tomorrow"},
        {"name": "x", "max_device_seconds_per_day": 1e10},
        {"name": "x", "share": 2},
        {"name": "x", "ends_at": in_seconds(-60)},
    ):
        problem(admin.post("/v1/groups", wrong), 422)
    changed = admin.patch(
        f"/v1/groups/{school['id']}", {"ends_at": in_seconds(60), "member_max_queued": 5}
    ).json
    assert (changed["ended"], changed["member_max_queued"], changed["max_running"]) == (False, 5, 4)
    assert changed["members"] == 2
    assert admin.patch("/v1/groups/class", {"ends_at": None}).json["ends_at"] is None
    problem(admin.patch("/v1/groups/class", {}), 422)
    for person in (ann, bob):
        problem(person.post("/v1/groups", {"name": "mine"}), 403)
        problem(person.delete("/v1/groups/class"), 403)
    assert admin.delete("/v1/groups/class").status_code == 204
    assert ann.items("/v1/groups") == admin.items("/v1/groups") == []
    problem(admin.get("/v1/groups/class"), 404)


def test_a_group_is_known_to_those_in_it_and_admins(
    admin: Person, school: Any, teacher: Person, ann: Person, bob: Person
) -> None:
    other = admin.post("/v1/groups", {"name": "other"}).json
    assert [each["name"] for each in admin.items("/v1/groups")] == ["other", "class"]
    assert [(each["name"], each["role"]) for each in ann.items("/v1/groups")] == [
        ("class", "member")
    ]
    assert teacher.get(f"/v1/groups/{school['id']}").json["role"] == "teacher"
    assert bob.items("/v1/groups") == []
    for person, group in ((bob, "class"), (ann, "other"), (teacher, other["id"])):
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"member_max_queued": 1}),
            ("GET", "/members", None),
            ("POST", "/members", {"user": "eve", "create": True}),
            ("DELETE", "/members/ann", None),
        ):
            known = person.send(method, f"/v1/groups/{group}{path}", json=body)
            missing = person.send(method, f"/v1/groups/{UNKNOWN_ID}{path}", json=body)
            assert problem(known, 404) == {
                **problem(missing, 404),
                "detail": missing.json["detail"].replace(UNKNOWN_ID, group),
            }
    for method, path, body in (
        ("PATCH", "", {"member_max_queued": 1}),
        ("GET", "/members", None),
        ("POST", "/members", {"user": "bob"}),
        ("DELETE", "/members/ann", None),
    ):
        refused = problem(ann.send(method, f"/v1/groups/class{path}", json=body), 403)
        assert "ann is a member" in refused["detail"]


def test_a_teacher_sets_the_caps_of_each_member_within_the_admin_s(
    admin: Person, school: Any, teacher: Person, ann: Person
) -> None:
    assert teacher.patch("/v1/groups/class", {"member_max_running": 4}).status_code == 200
    assert ann.get("/v1/usage").json["running"] == {"used": 0, "cap": 4, "own": False}
    assert teacher.get("/v1/usage").json["running"]["cap"] == 100, "not for teachers"
    above = problem(teacher.patch("/v1/groups/class", {"member_max_running": 5}), 422)
    assert above["errors"][0]["field"] == "member_max_running"
    assert "at most 4" in above["detail"]
    server = problem(teacher.patch("/v1/groups/class", {"member_max_queued": 13}), 422)
    assert "at most 12" in server["detail"], "the server's default, where the group has no cap"
    assert teacher.patch("/v1/groups/class", {"member_max_queued": 2}).status_code == 200
    assert ann.get("/v1/usage").json["queued"]["cap"] == 2
    for field in ("max_running", "max_queued", "max_stored_bytes", "ends_at"):
        refused = problem(teacher.patch("/v1/groups/class", {field: None}), 403)
        assert field in refused["detail"]
    for path in ("/v1/usage/ann", "/v1/usage/tess"):
        problem(teacher.patch(path, {"max_running": 9}), 403)
    assert admin.patch("/v1/groups/class", {"member_max_running": 9}).status_code == 200


def test_a_full_group_refuses_with_its_name(admin: Person, school: Any, ann: Person) -> None:
    corpus = ann.upload()
    admin.patch("/v1/groups/class", {"max_queued": 1, "max_stored_bytes": 5000})
    ann.train(corpus)
    full = ann.post("/v1/train", {"corpus": corpus})
    assert problem(full, 429)["type"] == "/problems/group-full"
    assert "'class'" in full.json["detail"]
    assert int(full.headers["Retry-After"]) > 0
    stored = problem(ann.post("/v1/corpora", {"name": "more", "text": "x" * 5000}), 403)
    assert "5,000 bytes together" in stored["detail"]


def test_a_teacher_makes_disables_and_enables_members(
    admin: Person, school: Any, teacher: Person, ann: Person, bob: Person, harness: ApiHarness
) -> None:
    made = teacher.post("/v1/groups/class/members", {"user": "eve", "create": True})
    assert made.status_code == 201
    assert made.json["use"] == {
        "running": 0,
        "queued": 0,
        "device_seconds_today": 0,
        "stored_bytes": 0,
    }
    problem(teacher.post("/v1/groups/class/members", {"user": "a b", "create": True}), 422)
    problem(teacher.post("/v1/groups/class/members", {"user": "eve", "create": True}), 409)
    assert (
        "already" in problem(admin.post("/v1/groups/class/members", {"user": "eve"}), 409)["detail"]
    )
    problem(
        teacher.post(
            "/v1/groups/class/members", {"user": "kit", "create": True, "role": "teacher"}
        ),
        403,
    )
    for name in ("eve", "ann"):
        assert teacher.patch(f"/v1/users/{name}", {"disabled": True}).json["disabled_at"]
        assert teacher.patch(f"/v1/users/{name}", {"disabled": False}).status_code == 200
    admin.patch("/v1/users/ann", {"disabled": True})
    teacher.patch("/v1/users/ann", {"disabled": True})
    refused = problem(teacher.patch("/v1/users/ann", {"disabled": False}), 403)
    assert "an admin disabled 'ann'" in refused["detail"]
    assert teacher.get("/v1/usage/ann").status_code == 200
    listed = {each["name"]: each["role"] for each in teacher.items("/v1/groups/class/members")}
    assert listed == {"eve": "member", "ann": "member", "tess": "teacher"}
    assert teacher.delete("/v1/groups/class/members/ann").status_code == 204
    problem(teacher.delete("/v1/groups/class/members/ann"), 404)
    problem(teacher.patch("/v1/users/ann", {"disabled": False}), 403)
    problem(ann.get("/v1/me"), 401)


def test_a_teacher_reaches_no_one_beyond_the_group(
    admin: Person, school: Any, teacher: Person, ann: Person, bob: Person, harness: ApiHarness
) -> None:
    """Not an admin, a stranger, another teacher, or a member whom another group shares."""
    harness.person("mia")
    second = harness.person("second", "admin")
    admin.post("/v1/groups", {"name": "other"})
    for name, group, role in (
        ("second", "class", "member"),
        ("mia", "class", "teacher"),
        ("ann", "other", "member"),
    ):
        added = admin.post(f"/v1/groups/{group}/members", {"user": name, "role": role})
        assert added.status_code == 201
    for name in ("second", "root", "bob", "mia", "tess", "ann", "nobody"):
        refused = teacher.patch(f"/v1/users/{name}", {"disabled": True})
        assert problem(refused, 403)["detail"] == "this needs an admin, and tess is a member"
        if name != "tess":
            problem(teacher.get(f"/v1/usage/{name}"), 403)
            problem(teacher.get(f"/v1/users/{name}/keys"), 403)
            problem(teacher.post(f"/v1/users/{name}/keys", {}), 403)
    assert second.get("/v1/me").status_code == 200
    # Nobody is drawn into a group who is not the teacher's already.
    stranger = teacher.post("/v1/groups/class/members", {"user": "bob"})
    missing = teacher.post("/v1/groups/class/members", {"user": "nobody"})
    assert problem(stranger, 404)["detail"] == problem(missing, 404)["detail"].replace(
        "nobody", "bob"
    )
    assert "only an admin" in problem(teacher.delete("/v1/groups/class/members/mia"), 403)["detail"]
    problem(teacher.patch("/v1/groups/class/members/ann", {"role": "teacher"}), 403)
    assert admin.delete("/v1/groups/other/members/ann").status_code == 204
    assert teacher.patch("/v1/users/ann", {"disabled": True}).status_code == 200
    end(admin, "class")
    problem(teacher.patch("/v1/users/ann", {"disabled": False}), 403)
    assert (
        "has ended"
        in problem(teacher.patch("/v1/groups/class", {"member_max_queued": 1}), 403)["detail"]
    )
    assert len(teacher.items("/v1/groups/class/members")) == 4


def test_an_admin_makes_a_member_a_teacher_and_back(
    admin: Person, school: Any, ann: Person
) -> None:
    made = admin.patch("/v1/groups/class/members/ann", {"role": "teacher"})
    assert made.json["role"] == "teacher"
    assert len(ann.items("/v1/groups/class/members")) == 2
    admin.patch("/v1/groups/class/members/ann", {"role": "member"})
    problem(ann.get("/v1/groups/class/members"), 403)
    for wrong in ({}, {"role": "king"}, {"role": None}):
        problem(admin.patch("/v1/groups/class/members/ann", wrong), 422)
    problem(admin.patch("/v1/groups/class/members/bob", {"role": "member"}), 404)


def test_a_group_and_a_teacher_have_bounds(
    harness: ApiHarness, admin: Person, school: Any, teacher: Person
) -> None:
    services = harness.app.extensions["quire"]
    bounds = {"max_users_per_teacher": 2, "max_members_per_group": 5}
    settings = services.settings.model_copy(update=bounds)
    object.__setattr__(services, "settings", settings)
    path = "/v1/groups/class/members"
    for name in ("eve", "kit"):
        assert teacher.post(path, {"user": name, "create": True}).status_code == 201
    refused = problem(teacher.post(path, {"user": "leo", "create": True}), 409)
    assert "QUIRE_MAX_USERS_PER_TEACHER" in refused["detail"]
    assert teacher.delete(f"{path}/eve").status_code == 204
    problem(teacher.post(path, {"user": "leo", "create": True}), 409)
    assert teacher.post(path, {"user": "eve"}).status_code == 201, "a user of hers comes back"
    admin.post(path, {"user": "leo", "create": True})
    full = problem(admin.post(path, {"user": "max", "create": True}), 409)
    assert "QUIRE_MAX_MEMBERS_PER_GROUP" in full["detail"]
    assert "max" not in {each["name"] for each in admin.items("/v1/users")}


def test_a_teacher_s_bound_holds_when_many_are_made_at_once(
    harness: ApiHarness, school: Any, teacher: Person
) -> None:
    services = harness.app.extensions["quire"]
    settings = services.settings.model_copy(update={"max_users_per_teacher": 3})
    object.__setattr__(services, "settings", settings)

    def make(number: int) -> int:
        person = Person(harness.app.test_client(), "tess", teacher.key)
        body = {"user": f"user{number}", "create": True}
        return person.post("/v1/groups/class/members", body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, range(8))) == [201] * 3 + [409] * 5


def test_a_user_whom_a_teacher_made_starts_nothing_once_the_group_is_over(
    harness: ApiHarness, admin: Person, school: Any, teacher: Person
) -> None:
    teacher.post("/v1/groups/class/members", {"user": "eve", "create": True})
    key = admin.post("/v1/users/eve/keys", {}).json["key"]
    eve = Person(harness.app.test_client(), "eve", key)
    corpus = eve.upload()
    eve.train(corpus)
    end(admin, "class")
    for path, body in (
        ("/v1/train", {"corpus": corpus}),
        ("/v1/corpora", {"name": "more", "text": "x"}),
    ):
        over = problem(eve.post(path, body), 403)
        assert over["type"] == "/problems/group-over"
    assert eve.get(f"/v1/corpora/{corpus}/text").status_code == 200
    assert harness.queue.claim("train", "host/cpu/train") == []
    admin.patch("/v1/groups/class", {"ends_at": None})
    eve.train(corpus)


def test_a_repeated_request_adds_one_group_and_one_member(admin: Person) -> None:
    headers = {"Idempotency-Key": "once"}
    first = admin.post("/v1/groups", {"name": "class"}, headers=headers)
    again = admin.post("/v1/groups", {"name": "class"}, headers=headers)
    assert (first.json, again.status_code) == (again.json, 201)
    assert again.headers["Location"] == f"/v1/groups/{first.json['id']}"
    body = {"user": "eve", "create": True}
    headers = {"Idempotency-Key": "one member"}
    added = [admin.post("/v1/groups/class/members", body, headers=headers) for _ in range(2)]
    assert added[0].json == added[1].json


def test_a_teachers_link_makes_a_first_key_and_no_other(
    harness: ApiHarness, admin: Person, teacher: Person, school: Any, ann: Person
) -> None:
    """Whoever redeems a link reads what is private of its user."""
    joined = teacher.post("/v1/groups/class/members", {"user": "eve", "create": True})
    assert joined.status_code == 201, joined.text
    links = [teacher.post("/v1/users/eve/enrolments", {}).json["link"] for _ in range(2)]
    tokens = [link.partition("#")[2] for link in links]
    anybody = harness.app.test_client()
    key = anybody.post("/v1/enrol", json={"token": tokens[0], "name": "laptop"})
    assert key.status_code == 201, key.text
    late = problem(anybody.post("/v1/enrol", json={"token": tokens[1], "name": "x"}), 410)
    assert late["type"] == "/problems/enrolment-revoked"
    assert "first key" in late["detail"]
    # She has something to read from now on.
    problem(teacher.post("/v1/users/eve/enrolments", {}), 403)
    problem(teacher.post("/v1/users/ann/enrolments", {}), 403)
    problem(teacher.post("/v1/users/nobody/enrolments", {}), 403)
    # An admin's link is good for another key.
    again = admin.post("/v1/users/eve/enrolments", {}).json["link"].partition("#")[2]
    assert anybody.post("/v1/enrol", json={"token": again, "name": "phone"}).status_code == 201


def test_what_is_done_to_a_group_stands_in_the_audit(
    admin: Person, teacher: Person, school: Any
) -> None:
    teacher.post("/v1/groups/class/members", {"user": "eve", "create": True})
    teacher.patch("/v1/users/eve", {"disabled": True})
    admin.delete("/v1/groups/class/members/eve")
    admin.delete("/v1/groups/class")
    events = [(each["action"], each["actor"], each["user"]) for each in admin.items("/v1/audit")]
    assert [each for each in events if each[0] != "user.created"][:5] == [
        ("group.deleted", "root", None),
        ("group.member_removed", "root", "eve"),
        ("user.disabled", "tess", "eve"),
        ("group.member_added", "tess", "eve"),
        ("group.member_added", "root", "ann"),
    ]
