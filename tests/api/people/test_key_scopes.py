"""What a key may be used for: its scopes, within its user's role."""

from typing import Any

import pytest
from werkzeug.test import EnvironBuilder

from api.http.authentication import ALLOW_ANONYMOUS
from api.http.head_policy import ApiHeadPolicy
from api.http.openapi import scope_of
from api.http.request_body import handler_of
from shared.accounts import create_key
from shared.database import make_sessions
from shared.tables import SCOPES, User
from tests.api.harness import ApiHarness, Person, expire, problem

#: What is not in a scope that its method suggests.
OTHER_SCOPES = {
    ("GET", "/v1/users"): "admin",
    ("POST", "/v1/users"): "admin",
    ("PATCH", "/v1/usage/{user}"): "admin",
    ("POST", "/v1/jobs/{id}/promote"): "admin",
    ("POST", "/v1/jobs/{id}/lift"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/v1/storage"): "admin",
    ("GET", "/metrics"): "metrics",
    ("POST", "/v1/devices/drain"): "admin",
    ("POST", "/v1/announcement"): "admin",
    ("DELETE", "/v1/announcement"): "admin",
    ("POST", "/v1/devices/free"): "admin",
    ("POST", "/v1/users/{user}/keys"): "manage",
    ("DELETE", "/v1/session"): "read",
    ("POST", "/v1/webhooks/secret"): "manage",
    ("POST", "/v1/users/{user}/enrolments"): "manage",
    ("POST", "/v1/groups"): "admin",
    ("DELETE", "/v1/groups/{group}"): "admin",
    ("POST", "/v1/groups/{group}/members"): "manage",
    ("PATCH", "/v1/groups/{group}/members/{user}"): "admin",
    ("POST", "/v1/models/{id}/restore"): "manage",
    ("POST", "/v1/corpora/{id}/restore"): "manage",
    ("POST", "/v1/shares"): "manage",
}
BY_METHOD = {"GET": "read", "POST": "submit", "PATCH": "manage", "DELETE": "manage"}
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


def with_scopes(harness: ApiHarness, name: str, *scopes: str) -> Person:
    """The same user, with another key."""
    with make_sessions(harness.engine).begin() as session:
        user = session.query(User).filter_by(name=name).one()
        key = create_key(session, user, scopes=scopes).key
    return Person(harness.app.test_client(), name, key)


def operations(harness: ApiHarness) -> list[tuple[str, str, Any]]:
    """The method, path and description of every operation that needs a key."""
    spec: Any = harness.app.test_client().get("/openapi.json").json
    return [
        (method.upper(), path, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
        if operation.get("security")
    ]


def test_every_route_needs_a_scope_and_says_which(harness: ApiHarness) -> None:
    described = {}
    for method, path, operation in operations(harness):
        [[scope]] = [each["key"] for each in operation["security"]]
        described[method, path] = scope
        assert scope == OTHER_SCOPES.get((method, path), BY_METHOD[method]), (method, path)
    assert set(OTHER_SCOPES) <= set(described)
    for rule in harness.app.url_map.iter_rules():
        handler = handler_of(harness.app.view_functions[rule.endpoint])
        if not hasattr(handler, ALLOW_ANONYMOUS):
            assert scope_of(handler) in SCOPES, rule


def test_every_route_refuses_a_key_without_its_scope(harness: ApiHarness, admin: Person) -> None:
    """Before anything else of the request is looked at, so that each is a 403."""
    keys = {
        scope: with_scopes(harness, "root", *(each for each in SCOPES if each != scope))
        for scope in SCOPES
    }
    walked = operations(harness)
    assert len(walked) > 40
    for method, path, operation in walked:
        scope = operation["security"][0]["key"][0]
        place = path.replace("{id}", NOWHERE).replace("{user}", "root")
        place = place.replace("{checkpoint}", "best").replace("{key}", "00000000")
        place = place.replace("{group}", "none")
        answer = keys[scope].send(method, place)
        body = problem(answer, 403)
        assert body["type"] == "/problems/missing-scope", (method, path)
        assert answer.headers["WWW-Authenticate"] == (
            f'Bearer realm="quire", error="insufficient_scope", scope="{scope}"'
        )
        others = [f"`{each}`" for each in SCOPES if each != scope]
        assert f"`{scope}`" in body["detail"]
        assert ", ".join(others) in body["detail"]
        assert f"--scope {scope}" in body["detail"]
        whole = admin.send(method, place)
        assert whole.status_code != 403, (method, path, whole.text)


def test_the_front_reads_no_body_for_a_key_without_the_scope(
    harness: ApiHarness, ann: Person
) -> None:
    policy = ApiHeadPolicy(harness.app)

    def admits(person: Person, path: str) -> bool:
        builder = EnvironBuilder(
            path, headers={"Authorization": f"Bearer {person.key}"}, method="POST"
        )
        return policy.admits(builder.get_environ())

    reader = with_scopes(harness, "ann", "read", "manage")
    assert not admits(reader, "/v1/corpora")
    assert admits(reader, "/v1/users/ann/keys")
    assert admits(ann, "/v1/corpora")
    expire(harness, ann)
    assert not admits(ann, "/v1/corpora")
    assert policy.body_limit("POST", "/v1/enrol") < policy.body_limit("POST", "/v1/train")


def test_a_scope_opens_nothing_that_the_role_does_not(harness: ApiHarness, ann: Person) -> None:
    with make_sessions(harness.engine).begin() as session:
        session.query(User).filter_by(name="ann").one().role = "admin"
    promoted = with_scopes(harness, "ann", *SCOPES)
    assert promoted.get("/v1/users").status_code == 200
    with make_sessions(harness.engine).begin() as session:
        session.query(User).filter_by(name="ann").one().role = "member"
    assert "ann is a member" in problem(promoted.get("/v1/users"), 403)["detail"]
    assert promoted.get("/v1/me").json["key"]["scopes"] == ["read", "submit", "manage"]


def test_an_admins_key_without_the_scope_is_a_members(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    key = with_scopes(harness, "root", "read", "submit", "manage")
    assert key.get("/v1/users/root/keys").status_code == 200
    assert key.get("/v1/usage").status_code == 200
    for method, path in (
        ("GET", "/v1/users/ann/keys"),
        ("GET", "/v1/users/ann/enrolments"),
        ("GET", "/v1/usage/ann"),
    ):
        body = problem(key.send(method, path), 403)
        assert body["type"] == "/problems/missing-scope", path
        assert "`admin`" in body["detail"]
    for path in ("/v1/users/ann/keys", "/v1/users/ann/enrolments"):
        assert problem(key.post(path, {}), 403)["type"] == "/problems/missing-scope"
    problem(key.delete(f"/v1/keys/{ann.key.split('_')[1]}"), 404)
    problem(key.delete(f"/v1/enrolments/{NOWHERE}"), 403)


def test_a_key_is_made_with_scopes_and_without_the_right_to_make_keys(
    harness: ApiHarness, ann: Person
) -> None:
    made = ann.post("/v1/users/ann/keys", {"name": "notebook", "scopes": ["submit", "read"]}).json
    assert made["scopes"] == ["read", "submit"]
    notebook = Person(harness.app.test_client(), "ann", made["key"])
    assert notebook.get("/v1/me").json["key"]["scopes"] == ["read", "submit"]
    corpus = notebook.upload()
    assert problem(notebook.post("/v1/users/ann/keys", {}), 403)["type"].endswith("missing-scope")
    for answer in (
        notebook.patch(f"/v1/corpora/{corpus}", {"visibility": "server"}),
        notebook.delete(f"/v1/corpora/{corpus}"),
        notebook.delete(f"/v1/keys/{made['prefix']}"),
    ):
        assert problem(answer, 403)["type"] == "/problems/missing-scope"
    assert [each["scopes"] for each in ann.items("/v1/users/ann/keys")] == [
        ["read", "submit"],
        ["read", "submit", "manage"],
    ]


def test_what_others_see_needs_the_scope_to_share(harness: ApiHarness, ann: Person) -> None:
    key = with_scopes(harness, "ann", "read", "submit")
    body = {"name": "shared", "text": "to all" * 100, "visibility": "server"}
    assert "`manage`" in problem(key.post("/v1/corpora", body), 403)["detail"]
    assert ann.items("/v1/corpora") == []
    corpus = key.upload()
    shared = {"corpus": corpus, "visibility": "server"}
    assert "`manage`" in problem(key.post("/v1/train", shared), 403)["detail"]
    job = ann.post("/v1/train", shared).json
    assert "`manage`" in problem(key.post(f"/v1/jobs/{job['id']}/rerun"), 403)["detail"]
    assert len(ann.items("/v1/jobs")) == 1


def test_a_key_makes_no_key_that_may_do_more(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    weak = with_scopes(harness, "ann", "read", "manage")
    assert weak.post("/v1/users/ann/keys", {}).json["scopes"] == ["read", "manage"]
    assert weak.post("/v1/users/ann/keys", {"scopes": ["read"]}).json["scopes"] == ["read"]
    body = problem(weak.post("/v1/users/ann/keys", {"scopes": ["read", "submit"]}), 403)
    assert body["type"] == "/problems/missing-scope"
    assert "`submit`" in body["detail"]
    helper = with_scopes(harness, "root", "manage", "admin")
    assert helper.post("/v1/users/ann/keys", {}).json["scopes"] == ["manage"]
    assert helper.post("/v1/users/ann/enrolments", {}).json["scopes"] == ["manage"]
    for kind in ("keys", "enrolments"):
        problem(helper.post(f"/v1/users/ann/{kind}", {"scopes": ["read"]}), 403)
    assert len(ann.items("/v1/users/ann/keys")) == 5


@pytest.mark.parametrize("scopes", [[], ["king"], "read", ["admin"], ["read", "admin"]])
def test_scopes_that_can_not_be_are_refused(ann: Person, scopes: Any) -> None:
    body = problem(ann.post("/v1/users/ann/keys", {"scopes": scopes}), 422)
    assert body["errors"][0]["field"].startswith("scopes")
    if "admin" in scopes:
        assert "ann is a member" in body["detail"]
    assert len(ann.items("/v1/users/ann/keys")) == 1
