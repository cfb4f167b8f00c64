"""The audit: what is recorded of whom, and who may read it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.services import EXTENSION
from quire.server.local_accounts import add_user_locally, renew_admin_key
from shared.audit import ACTIONS
from shared.broker import Broker
from shared.database import make_sessions
from shared.event_publisher import EventPublisher
from shared.queue import Queue
from shared.settings import Settings
from shared.tables import AuditEvent, Enrolment
from tests.api.harness import ApiHarness, Person, expire, problem
from worker.maintenance import Maintenance


def events(admin: Person, **filters: Any) -> list[Any]:
    query = "&".join(f"{name}={value}" for name, value in {"limit": 200, **filters}.items())
    return admin.items(f"/v1/audit?{query}")


def last(admin: Person, action: str) -> Any:
    """The newest event of a kind."""
    return events(admin, action=action)[0]


def by(person: Person, **fields: Any) -> dict[str, Any]:
    """What an event says of what a person has just done."""
    return {
        "actor": person.name,
        "key_prefix": person.key.split("_")[1],
        "address": "127.0.0.1",
        "count": 1,
        "resource": None,
        "details": None,
        **fields,
    }


def test_what_is_done_to_people_is_recorded(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    def assert_recorded(action: str, **fields: Any) -> None:
        event = last(admin, action)
        assert {name: event[name] for name in fields} == fields, action

    admin.post("/v1/users", {"name": "eve"})
    assert_recorded("user.created", **by(admin, user="eve", details={"role": "member"}))
    admin.patch("/v1/users/eve", {"disabled": True})
    assert_recorded("user.disabled", **by(admin, user="eve"))
    admin.patch("/v1/users/eve", {"disabled": False})
    assert_recorded("user.enabled", **by(admin, user="eve"))
    admin.patch("/v1/usage/eve", {"share": 2, "max_running": 3})
    changes = {"share": 2.0, "max_running": 3}
    assert_recorded("caps.changed", **by(admin, user="eve", details=changes))
    made = admin.post("/v1/users/ann/keys", {"scopes": ["read"], "name": "secret plans"}).json
    key = {"kind": "key", "id": made["prefix"]}
    details = {"scopes": ["read"], "expires_at": None}
    assert_recorded("key.created", **by(admin, user="ann", resource=key, details=details))
    ann.delete(f"/v1/keys/{made['prefix']}")
    assert_recorded("key.revoked", **by(ann, user="ann", resource=key))
    link = admin.post("/v1/users/ann/enrolments", {}).json
    resource = {"kind": "enrolment", "id": link["id"]}
    assert_recorded("enrolment.created", **by(admin, user="ann", resource=resource))
    token = link["link"].partition("#")[2]
    new = harness.app.test_client().post("/v1/enrol", json={"token": token}).json
    assert new is not None
    person = Person(harness.app.test_client(), "ann", new["key"])
    assert_recorded("enrolment.redeemed", **by(person, user="ann", resource=resource))
    link = admin.post("/v1/users/ann/enrolments", {}).json
    admin.delete(f"/v1/enrolments/{link['id']}")
    resource = {"kind": "enrolment", "id": link["id"]}
    assert_recorded("enrolment.revoked", **by(admin, user="ann", resource=resource))
    assert "secret plans" not in str(events(admin))
    assert new["key"] not in str(events(admin))
    assert token not in str(events(admin))


def test_what_is_done_to_texts_and_models_is_recorded_without_their_names(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    corpus = ann.upload(name="private diary")
    model = harness.model(ann, corpus, name="private muse")
    assert [event["action"] for event in events(admin, user="ann")] == [
        "key.created",
        "user.created",
    ]
    done = {
        ("corpus", "visibility_changed"): lambda: ann.patch(
            f"/v1/corpora/{corpus}", {"visibility": "server"}
        ),
        ("corpus", "excerpts_changed"): lambda: ann.patch(
            f"/v1/corpora/{corpus}", {"allow_excerpts": True}
        ),
        ("model", "visibility_changed"): lambda: ann.patch(
            f"/v1/models/{model['id']}", {"visibility": "server", "name": "still private"}
        ),
        ("model", "deleted"): lambda: ann.delete(f"/v1/models/{model['id']}"),
        ("corpus", "deleted"): lambda: ann.delete(f"/v1/corpora/{corpus}"),
    }
    ids = {"corpus": corpus, "model": model["id"]}
    for (kind, what), act in done.items():
        assert act().status_code < 300
        change = {
            "visibility_changed": {"before": "private", "after": "server"},
            "excerpts_changed": {"allowed": True},
        }.get(what)
        expected = by(ann, user="ann", resource={"kind": kind, "id": ids[kind]}, details=change)
        event = last(admin, f"{kind}.{what}")
        assert {name: event[name] for name in expected} == expected
    shared = ann.upload("to all of them" * 99, visibility="server")
    assert last(admin, "corpus.visibility_changed")["resource"]["id"] == shared
    # A change that is none is no event.
    before = len(events(admin))
    ann.patch(f"/v1/corpora/{shared}", {"visibility": "server", "name": "new name"})
    assert len(events(admin)) == before
    told = str(events(admin))
    for name in ("private diary", "private muse", "still private", "new name", "orwell"):
        assert name not in told


def test_a_promotion_is_recorded(harness: ApiHarness, ann: Person, admin: Person) -> None:
    job = ann.train(ann.upload())
    assert admin.post(f"/v1/jobs/{job['id']}/promote").status_code == 202
    event = last(admin, "job.promoted")
    assert (event["actor"], event["user"]) == ("root", "ann")
    assert event["resource"] == {"kind": "job", "id": job["id"]}


def test_what_is_refused_is_not_recorded(harness: ApiHarness, ann: Person, admin: Person) -> None:
    """An event is in the transaction of what it tells."""
    corpus = ann.upload()
    ann.train(corpus)
    before = [event["id"] for event in events(admin)]
    problem(ann.delete(f"/v1/corpora/{corpus}"), 409)
    problem(admin.patch("/v1/users/root", {"disabled": True}), 409)
    problem(admin.post("/v1/users", {"name": "ann"}), 409)
    problem(admin.post("/v1/users/ann/keys", {"scopes": ["admin"]}), 422)
    problem(ann.delete("/v1/keys/00000000"), 404)
    # Nor is what was so before.
    admin.patch("/v1/users/ann", {"disabled": False})
    assert [event["id"] for event in events(admin)] == before


def test_refused_sign_ins_are_counted_by_address_and_minute(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    expired = Person(
        harness.app.test_client(), "ann", ann.post("/v1/users/ann/keys", {}).json["key"]
    )
    expire(harness, expired)
    revoked = Person(
        harness.app.test_client(), "ann", ann.post("/v1/users/ann/keys", {}).json["key"]
    )
    ann.delete(f"/v1/keys/{revoked.key.split('_')[1]}")
    unknown = Person(harness.app.test_client(), "x", f"quire_00000000_{'0' * 64}")
    wrong = Person(harness.app.test_client(), "x", ann.key[:-4] + "ffff")
    elsewhere = {"environ_base": {"REMOTE_ADDR": "10.0.0.7"}}
    for person, times in ((expired, 2), (revoked, 3), (unknown, 40), (wrong, 1)):
        for _ in range(times):
            problem(person.get("/v1/me", **elsewhere), 401)
    token = f"quire_enrol_zzzzzzzz_{'0' * 64}"
    problem(harness.app.test_client().post("/v1/enrol", json={"token": token}, **elsewhere), 404)
    rows = events(admin, action="sign_in.refused", address="10.0.0.7")
    # The minute may have ended in between.
    assert 1 <= len(rows) <= 2
    assert sum(row["count"] for row in rows) == 47
    total: dict[str, int] = {}
    for row in rows:
        for reason, count in row["details"]["reasons"].items():
            total[reason] = total.get(reason, 0) + count
    assert total == {"expired": 2, "revoked": 3, "unknown": 41, "enrolment unknown": 1}
    prefixes = {prefix for row in rows for prefix in row["details"]["key_prefixes"]}
    assert prefixes == {
        *(person.key.split("_")[1] for person in (expired, revoked, unknown, wrong)),
        "zzzzzzzz",
    }
    assert rows[-1]["key_prefix"] == expired.key.split("_")[1]
    assert all(row["actor"] is None for row in rows)


def test_another_process_adds_to_the_row(harness: ApiHarness, admin: Person) -> None:
    refusals = harness.app.extensions[EXTENSION].refusals
    for prefix in ("aaaaaaaa", "bbbbbbbb"):
        for _ in range(3):
            refusals.sign_in("unknown", prefix, "10.0.0.8")
        refusals.write_sign_ins()
    rows = events(admin, address="10.0.0.8")
    assert sum(row["count"] for row in rows) == 6
    assert len(rows) <= 2


def test_many_addresses_do_not_fill_the_audit(harness: ApiHarness, admin: Person) -> None:
    refusals = harness.app.extensions[EXTENSION].refusals
    for number in range(1000):
        refusals.sign_in("unknown", None, f"10.1.{number // 250}.{number % 250}")
    rows = [*events(admin, action="sign_in.refused")]
    assert len(rows) <= 202
    assert sum(row["count"] for row in rows) == 1000


def test_an_address_of_any_length_is_kept_in_part(
    harness: ApiHarness, ann: Person, admin: Person
) -> None:
    """A proxy that is trusted passes on what it was sent."""
    long = {"environ_base": {"REMOTE_ADDR": "1" * 5000}}
    assert ann.post("/v1/users/ann/keys", {}, **long).status_code == 201
    stranger = Person(harness.app.test_client(), "x", f"quire_00000000_{'0' * 64}")
    problem(stranger.get("/v1/me", **long), 401)
    token = admin.post("/v1/users/ann/enrolments", {}).json["link"].partition("#")[2]
    client = harness.app.test_client()
    assert client.post("/v1/enrol", json={"token": token}, **long).status_code == 201
    assert {event["action"] for event in events(admin, address="1" * 100)} == {
        "key.created",
        "enrolment.redeemed",
        "sign_in.refused",
    }


def test_what_is_done_on_the_servers_machine_has_no_actor(
    settings: Settings, admin: Person
) -> None:
    add_user_locally(settings, "eve", "member")
    renew_admin_key(settings, "demo")
    renew_admin_key(settings, "demo")
    found = events(admin, address="the server's machine")
    assert {event["actor"] for event in found} == {None}
    assert [event["action"] for event in found][:3] == ["key.created", "key.revoked", "key.created"]
    assert [event["user"] for event in events(admin, user="eve")] == ["eve", "eve"]


def test_only_an_admin_reads_it(harness: ApiHarness, ann: Person) -> None:
    assert "ann is a member" in problem(ann.get("/v1/audit"), 403)["detail"]


def test_it_is_paged_and_filtered(harness: ApiHarness, ann: Person, admin: Person) -> None:
    for number in range(5):
        admin.post("/v1/users", {"name": f"user{number}"})
    page = admin.get("/v1/audit?limit=2").json
    found = list(page["items"])
    while page["next_cursor"]:
        page = admin.get(f"/v1/audit?limit=2&cursor={page['next_cursor']}").json
        found += page["items"]
    assert found == events(admin)
    assert [event["at"] for event in found] == sorted((e["at"] for e in found), reverse=True)
    assert {event["user"] for event in events(admin, user="user3")} == {"user3"}
    assert {event["actor"] for event in events(admin, key_prefix=admin.key.split("_")[1])} == {
        "root"
    }
    assert events(admin, since="2999-01-01T00:00:00Z") == []
    assert len(events(admin, since="2020-01-01T00:00:00Z")) == len(found)


@pytest.mark.parametrize(
    "query",
    ["action=key.stolen", "since=yesterday", "user=", "key_prefix=quire_x", "who=ann", "limit=0"],
)
def test_a_filter_that_can_not_be_is_refused(admin: Person, query: str) -> None:
    body = problem(admin.get(f"/v1/audit?{query}"), 422)
    assert body["errors"][0]["field"] == query.partition("=")[0]
    if query.startswith("action"):
        assert all(action in body["detail"] for action in ACTIONS)


def test_old_events_and_enrolments_are_forgotten(
    harness: ApiHarness, settings: Settings, ann: Person, admin: Person
) -> None:
    old = admin.post("/v1/users/ann/enrolments", {}).json["id"]
    kept = admin.post("/v1/users/ann/enrolments", {}).json["id"]
    with make_sessions(harness.engine).begin() as session:
        for event in session.query(AuditEvent).limit(2):
            event.at -= timedelta(days=31)
        session.get_one(Enrolment, old).expires_at = datetime.now(UTC) - timedelta(days=31)
        count = session.query(AuditEvent).count()
    queue = Queue(harness.engine, settings.model_copy(update={"audit_days": 30}))
    publisher = EventPublisher(settings.broker)
    Maintenance(queue, Broker(settings.broker), publisher).run_once()
    assert len(events(admin)) == count - 2
    assert [each["id"] for each in admin.items("/v1/users/ann/enrolments")] == [kept]
