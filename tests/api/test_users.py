"""Users, keys and roles."""

from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from shared.accounts import LastAdmin, create_user, disable_user
from shared.database import make_sessions
from shared.tables import User
from tests.api.harness import DEVICE, ApiHarness, Person, problem


def test_me_returns_the_current_user(harness: ApiHarness, ann: Person, admin: Person) -> None:
    me = ann.get("/v1/me").json
    key = me.pop("key")
    assert me | {"id": ""} == {"id": "", "name": "ann", "role": "member"}
    assert key | {"id": ""} == {
        "id": "",
        "prefix": ann.key.split("_")[1],
        "scopes": ["read", "submit", "manage"],
        "expires_at": None,
    }
    assert admin.get("/v1/me").json["role"] == "admin"
    assert "admin" in admin.get("/v1/me").json["key"]["scopes"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer quire_short_secret",
        "Bearer quire_00000000_" + "0" * 64,
        "Basic YW5uOnNlY3JldA==",
        "{key}",
        "Bearer {key}x",
        "Bearer {other_case}",
    ],
)
def test_a_missing_or_unknown_key_is_refused(
    harness: ApiHarness, ann: Person, authorization: str | None
) -> None:
    headers = {}
    if authorization is not None:
        other_case = ann.key[:-1] + ("0" if ann.key[-1] != "0" else "1")
        headers["Authorization"] = authorization.format(key=ann.key, other_case=other_case)
    answer = harness.app.test_client().get("/v1/me", headers=headers)
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="quire"'
    assert ann.key not in answer.text


def test_the_scheme_is_case_insensitive(harness: ApiHarness, ann: Person) -> None:
    headers = {"Authorization": f"bEARER {ann.key}"}
    assert harness.app.test_client().get("/v1/me", headers=headers).status_code == 200


def test_only_an_admin_manages_users(harness: ApiHarness, ann: Person, admin: Person) -> None:
    problem(ann.get("/v1/users"), 403)
    problem(ann.post("/v1/users", {"name": "eve"}), 403)
    eve = admin.post("/v1/users", {"name": "eve", "role": "admin"})
    assert eve.status_code == 201
    assert eve.json | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "eve",
        "role": "admin",
        "created_at": "",
        "disabled_at": None,
    }
    names = [user["name"] for user in admin.items("/v1/users")]
    assert names == ["eve", "root", "ann"] or set(names) == {"eve", "root", "ann"}
    assert "'eve'" in problem(admin.post("/v1/users", {"name": "eve"}), 409)["detail"]
    for wrong in ({"name": "a b"}, {"name": "-x"}, {"name": "x", "role": "king"}, {}, {"n": 1}):
        problem(admin.post("/v1/users", wrong), 422)


def test_members_manage_their_own_keys(harness: ApiHarness, ann: Person, bob: Person) -> None:
    made = ann.post("/v1/users/ann/keys", {"name": "laptop"})
    assert made.status_code == 201
    key = made.json
    assert Person(harness.app.test_client(), "ann", key["key"]).get("/v1/me").status_code == 200
    listed = ann.items("/v1/users/ann/keys")
    assert [each["name"] for each in listed] == ["laptop", "default"]
    assert all("key" not in each for each in listed)
    me = ann.get("/v1/me").json["id"]
    assert ann.items(f"/v1/users/{me}/keys") == listed
    for somebody in ("bob", "nobody", bob.get("/v1/me").json["id"]):
        answers = (
            ann.get(f"/v1/users/{somebody}/keys"),
            ann.post(f"/v1/users/{somebody}/keys", {}),
        )
        for answer in answers:
            assert problem(answer, 403)["detail"].startswith("only an admin")
    problem(bob.delete(f"/v1/keys/{key['prefix']}"), 404)
    assert ann.delete(f"/v1/keys/{key['prefix']}").status_code == 204
    assert ann.delete(f"/v1/keys/{key['id']}").status_code == 204
    revoked = Person(harness.app.test_client(), "ann", key["key"])
    assert "revoked" in problem(revoked.get("/v1/me"), 401)["detail"]
    assert ann.items("/v1/users/ann/keys")[0]["revoked_at"].endswith("Z")


def test_admins_manage_all_keys(harness: ApiHarness, ann: Person, admin: Person) -> None:
    key = admin.post("/v1/users/ann/keys", {}).json
    assert key["name"] == "default"
    assert Person(harness.app.test_client(), "ann", key["key"]).get("/v1/me").json["name"] == "ann"
    assert admin.delete(f"/v1/keys/{key['prefix']}").status_code == 204
    for nobody in ("nobody", "a%00b", "-", "01890a5d-ac96-774b-bcce-b302099a8057"):
        problem(admin.get(f"/v1/users/{nobody}/keys"), 404)
        problem(admin.delete(f"/v1/keys/{nobody}"), 404)
    problem(admin.post("/v1/users/ann/keys", {"name": ""}), 422)
    problem(admin.post("/v1/users/ann/keys", {"name": "x" * 101}), 422)


def test_a_disabled_user_is_refused_and_their_jobs_wait(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    job = ann.train(ann.upload())
    for who, name in ((ann, "bob"), (ann, "ann"), (ann, "nobody")):
        problem(who.patch(f"/v1/users/{name}", {"disabled": True}), 403)
    disabled = admin.patch("/v1/users/ann", {"disabled": True}).json
    assert disabled["disabled_at"].endswith("Z")
    assert "disabled" in problem(ann.get("/v1/me"), 401)["detail"]
    assert harness.queue.claim("train", DEVICE) == []
    assert bob.get("/v1/me").status_code == 200
    assert admin.patch("/v1/users/ann", {"disabled": True}).json == disabled
    made = admin.patch(f"/v1/users/{disabled['id']}", {"disabled": False})
    assert made.json == disabled | {"disabled_at": None}
    assert ann.get("/v1/me").status_code == 200
    assert harness.claim(job["id"]).job_id == job["id"]
    problem(admin.patch("/v1/users/nobody", {"disabled": True}), 404)
    for wrong in ({}, {"disabled": None}, {"disabled": "yes"}, {"disabled": True, "role": "admin"}):
        problem(admin.patch("/v1/users/ann", wrong), 422)


def test_the_last_admin_can_not_be_disabled(harness: ApiHarness, admin: Person) -> None:
    assert "yourself" in problem(admin.patch("/v1/users/root", {"disabled": True}), 409)["detail"]
    second = harness.person("second", "admin")
    assert second.patch("/v1/users/root", {"disabled": True}).status_code == 200
    problem(admin.get("/v1/users"), 401)
    assert second.patch("/v1/users/root", {"disabled": False}).status_code == 200


def test_two_admins_can_not_disable_one_another_at_once(harness: ApiHarness) -> None:
    sessions = make_sessions(harness.engine)
    with sessions.begin() as session:
        ids = [create_user(session, name, "admin").id for name in ("eve", "mallory")]

    def disable(user_id: str) -> None:
        with sessions.begin() as session:
            disable_user(session, session.get_one(User, user_id))

    with ThreadPoolExecutor(1) as thread:
        with sessions.begin() as session:
            disable_user(session, session.get_one(User, ids[0]))
            session.flush()
            late = thread.submit(disable, ids[1])
            wait({late}, timeout=0.5)  # it stands before the lock, or has broken the promise
        with pytest.raises(LastAdmin, match="'mallory' is the last admin"):
            late.result()


def test_an_admin_does_not_see_other_users_texts(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    corpus = ann.upload()
    problem(admin.get(f"/v1/corpora/{corpus}"), 404)
    assert admin.items("/v1/corpora") == []
    shared = ann.upload(visibility="server")
    problem(admin.patch(f"/v1/corpora/{shared}", {"name": "x"}), 403)


def test_the_owner_of_a_key_sees_who_made_it_and_from_where(
    harness: ApiHarness, ann: Person
) -> None:
    admin = harness.person("root", "admin")
    admin.post("/v1/users/ann/keys", {"name": "not hers"}, environ_base={"REMOTE_ADDR": "10.1.2.3"})
    ann.post("/v1/users/ann/keys", {"name": "hers"}, environ_base={"REMOTE_ADDR": "::1"})
    makers = {
        key["name"]: (key["made_by"], key["made_from"]) for key in ann.items("/v1/users/ann/keys")
    }
    assert makers == {
        "not hers": ("root", "10.1.2.3"),
        "hers": ("ann", "::1"),
        "default": (None, "the server's machine"),
    }
