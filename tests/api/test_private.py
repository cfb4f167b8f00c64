"""Another user's private resources return 404, exactly like missing ones.

The walk finds the routes in the OpenAPI document. Nothing is listed here but what some may manage.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.worker_registry import WorkerInfo, register
from tests.api.harness import DEVICE, ApiHarness, Person, problem
from tests.api.privacy_walk import (
    UNKNOWN_ID,
    Comparison,
    Operation,
    References,
    Slot,
    UnknownParameter,
    compare,
    operations,
)

#: In the names and texts of what is private, and in the names of its owner and her group.
PRIVATE_MARK, NAME_MARK = "quagga", "okapi"
MISSING_MARK = "ibexx"
PRIVATE_TEXT = f"The {PRIVATE_MARK} stood by the river, and the river stood still.\n" * 60
#: What the role is for: these resources of others may be named, and are changed in other tests
#: (test_groups.py, test_users.py, test_caps.py). The walk reads them, and looks for what leaks.
MANAGED = {"admin": {"user", "key", "session", "enrolment", "group"}, "teacher": {"user", "group"}}
#: What the owner may not read either: the links that were made for them.
OTHERS_ALONE = {"GET /v1/users/{user}/enrolments"}
#: Operations by which an admin orders the queue (test_scheduling.py).
QUEUE_ORDER = {"POST /v1/jobs/{id}/promote", "POST /v1/jobs/{id}/lift"}
#: Replies that change by themselves.
CHANGING = {
    "/v1/queue",
    "/v1/usage",
    "/v1/usage/{user}",
    "/v1/users/{user}/keys",  # when each was last used
    "/v1/devices",
}


def create_resources(harness: ApiHarness, person: Person, **named: Any) -> dict[str, str]:
    """Make one of each resource of a user."""
    corpus = person.upload(**{"name": "orwell", **named})
    name = {"name": named["name"]} if named else {}
    model = harness.model(person, corpus, **name)
    prompt = {"prompt": "The "} if named else {}
    written = person.post("/v1/generate", {"model": model["id"], **name, **prompt}).json
    harness.write(written, [named.get("text", "a text")])
    texts = person.get(f"/v1/jobs/{written['id']}").json["texts"]
    share = person.post("/v1/shares", {"text": texts[0]["id"]}).json
    session = harness.app.test_client().post("/v1/session", json={"key": person.key}).json
    return {
        "corpus": model["corpus"],
        "model": model["id"],
        "job": model["job"],
        "checkpoint": model["checkpoints"]["best"],
        "text": texts[0]["id"],
        "writing": written["id"],
        "key": person.items(f"/v1/users/{person.name}/keys")[0]["id"],
        "session": session["id"],
        "share": share["id"],
    }


class Nobody(Person):
    """A client without a key."""

    def send(self, method: str, path: str, **options: Any) -> Any:
        return self.client.open(path, method=method, buffered=True, **options)


@dataclass
class World:
    """A user with private things, and those who must not see them."""

    harness: ApiHarness
    operations: list[Operation]
    owner: Person
    private: References
    missing: References
    viewers: dict[str, tuple[Person, References]]

    def compare(self, role: str) -> list[Comparison]:
        """Send every request that names something to a viewer, but for what the role manages."""
        viewer, own = self.viewers[role]
        return [
            found
            for operation in self.operations
            if not (role == "admin" and str(operation) in QUEUE_ORDER)
            for found in compare(
                _compared(operation, role), viewer, own, self.private, self.missing
            )
        ]

    def ids(self, *, people: bool) -> set[str]:
        """The ids of what is private; `people` adds those of the owner, her key and group."""
        kinds = {"corpus", "model", "job", "checkpoint", "text"}
        kinds |= {"user", "key", "group"} if people else set()
        return {reference for kind in kinds for reference in self.private[kind]}


def _compared(operation: Operation, role: str) -> Operation:
    """The operation without the places that name what the role manages."""
    managed = MANAGED.get(role, set())
    slots = tuple(slot for slot in operation.slots if slot.kind not in managed)
    if any(slot.required and slot.kind in managed for slot in operation.slots):
        slots = ()
    return replace(operation, slots=slots)


def references(
    person: Person, things: dict[str, str], group: dict[str, Any], admin: Person
) -> References:
    me = person.get("/v1/me").json
    prefix = person.items(f"/v1/users/{person.name}/keys")[0]["prefix"]
    corpus = person.get(f"/v1/corpora/{things['corpus']}").json
    enrolment = admin.post(f"/v1/users/{person.name}/enrolments", {}).json
    return {
        "enrolment": [enrolment["id"]],
        **{
            kind: [things[kind]]
            for kind in ("corpus", "model", "checkpoint", "text", "session", "share")
        },
        "job": [things["job"], things["writing"]],
        "name": [corpus["name"]],
        "key": [prefix, things["key"]],
        "user": [me["name"], me["id"]],
        "group": [group["name"], group["id"]],
    }


def missing_like(private: References) -> References:
    """References of the same forms and lengths, to nothing."""

    def missing(reference: str) -> str:
        if len(reference) == len(UNKNOWN_ID):
            return UNKNOWN_ID
        if len(reference) == 8:  # a key's prefix
            return "0" * 8
        return reference.replace(NAME_MARK, MISSING_MARK).replace(PRIVATE_MARK, "zebras")

    return {kind: [missing(each) for each in found] for kind, found in private.items()}


@pytest.fixture
def world(harness: ApiHarness) -> World:
    admin = harness.person("root", "admin")
    owner, teacher = harness.person(f"{NAME_MARK}-ann"), harness.person("tess")
    bob, revoked = harness.person("bob"), harness.person("rob")

    def group(name: str, **members: Person) -> Any:
        made = admin.post("/v1/groups", {"name": name}).json
        for role, person in members.items():
            admin.post(f"/v1/groups/{name}/members", {"user": person.name, "role": role})
        return made

    taught = group(f"{NAME_MARK}-class", member=owner, teacher=teacher)
    things = create_resources(harness, owner, name=f"the {PRIVATE_MARK}", text=PRIVATE_TEXT)
    private = references(owner, things, taught, admin)
    viewers = {}
    for role, person, of_viewer in (
        ("another user", bob, group("bobs", member=bob)),
        ("teacher", teacher, taught),
        ("admin", admin, group("roots", member=admin)),
        ("revoked key", revoked, group("robs", member=revoked)),
    ):
        own = references(person, create_resources(harness, person), of_viewer, admin)
        viewers[role] = (person, own)
    viewers["nobody"] = (Nobody(harness.app.test_client(), "nobody", ""), viewers["revoked key"][1])
    prefix = viewers["revoked key"][1]["key"][0]
    assert revoked.delete(f"/v1/keys/{prefix}").status_code == 204
    document = owner.get("/openapi.json").json
    return World(harness, operations(document), owner, private, missing_like(private), viewers)


def test_what_is_private_answers_like_what_is_missing(world: World) -> None:
    before = seen_by_owner(world)
    for role, least in (
        ("another user", 60),
        ("teacher", 40),
        ("admin", 35),
        ("nobody", 60),
        ("revoked key", 60),
    ):
        compared = world.compare(role)
        assert len(compared) >= least, role
        for found in compared:
            assert found.private == found.missing, f"{role}: {found}"
            if found.slot.where != "query":
                assert 400 <= found.private.status < 500, f"{role}: {found}"
            if role in ("nobody", "revoked key"):
                assert found.private.status == 401, f"{role}: {found}"
    assert seen_by_owner(world) == before


def test_the_walk_would_notice_a_difference(world: World) -> None:
    """Its references are real: their owner gets another answer for each of them."""
    own = world.private
    read = [
        operation
        for operation in world.operations
        if operation.method == "GET" and operation.scope != "admin"
        if str(operation) not in OTHERS_ALONE
    ]
    compared = [
        found
        for operation in read
        for found in compare(operation, world.owner, own, world.private, world.missing)
    ]
    noticed = {(found.operation, found.slot): False for found in compared}
    assert len(noticed) >= 20
    for found in compared:
        # A member may know of a group and not of who else is in it.
        assert found.private.status in (200, 403), found
        noticed[found.operation, found.slot] |= found.private != found.missing
    assert all(noticed.values()), [key for key, differs in noticed.items() if not differs]


def test_nothing_that_others_read_tells_of_what_is_private(world: World) -> None:
    for role, (viewer, own) in world.viewers.items():
        managed = MANAGED.get(role, set())
        marks = {PRIVATE_MARK, *world.ids(people=not managed)}
        marks |= set() if managed else {NAME_MARK}
        for operation in world.operations:
            if operation.method != "GET":
                continue
            for path_values in ways(operation, own, world.private if managed else own, managed):
                response = operation.send(viewer, path_values)
                if role not in ("nobody", "revoked key"):
                    assert response.status_code in (200, 403), f"{role}: {operation}"
                leaked = {mark for mark in marks if mark.encode() in response.data}
                assert not leaked, f"{role}: {operation}"


def ways(
    operation: Operation, own: References, of_managed: References, managed: set[str]
) -> list[dict[Slot, str]]:
    """The values of the path: the viewer's own, and those of others that the viewer manages."""
    required = [slot for slot in operation.slots if slot.required]
    found = [{slot: own[slot.kind][0] for slot in required}]
    if managed.intersection(slot.kind for slot in required):
        found.append(
            {slot: (of_managed if slot.kind in managed else own)[slot.kind][0] for slot in required}
        )
    return found


def seen_by_owner(world: World) -> dict[str, bytes]:
    """What the owner reads of each of her things."""
    return {
        operation.path: operation.send(
            world.owner,
            {slot: world.private[slot.kind][0] for slot in operation.slots if slot.required},
        ).data
        for operation in world.operations
        if operation.method == "GET" and operation.path not in CHANGING
    }


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("/v1/corpora/{secret}", {"parameters": [{"in": "path", "name": "secret"}]}),
        ("/v1/secrets/{id}", {"parameters": [{"in": "path", "name": "id"}]}),
        (
            "/v1/jobs",
            {"parameters": [{"in": "query", "name": "of", "schema": {"type": "string"}}]},
        ),
        (
            "/v1/jobs",
            {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "properties": {
                                    "like": {"anyOf": [{"type": "string", "format": "uuid"}]}
                                }
                            }
                        }
                    }
                }
            },
        ),
    ],
)
def test_a_route_of_which_the_walk_knows_too_little_fails(path: str, described: Any) -> None:
    document = {"paths": {path: {"get": {**described, "security": [{"key": ["read"]}]}}}}
    with pytest.raises(UnknownParameter, match="is new"):
        operations(document)


def test_lists_filters_and_devices_hide_private_resources(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    ids = create_resources(harness, ann)
    running = ann.train(ids["corpus"], name="hidden")
    worker = WorkerInfo("host", "cpu", "train", 1, {"tensorflow": "2.21"})
    assert worker.id == DEVICE
    register(harness.engine, worker, ready=True)
    harness.claim(running["id"])
    for person in (bob, admin):
        for path in (
            "/v1/corpora",
            "/v1/corpora?name=orwell",
            "/v1/corpora?visibility=private",
            "/v1/corpora?visibility=group",
            "/v1/models?visibility=group",
            "/v1/models",
            "/v1/models?name=hidden",
            "/v1/jobs",
            "/v1/jobs?name=hidden",
            f"/v1/jobs?model={ids['model']}",
            "/v1/texts",
            f"/v1/texts?job={ids['job']}",
            f"/v1/texts?model={ids['model']}",
        ):
            assert person.get(path).json == {"items": [], "next_cursor": None}, path
        assert [each["current_job"] for each in person.items("/v1/devices")] == [None]
    assert [each["current_job"] for each in ann.items("/v1/devices")] == [running["id"]]


def test_a_malformed_id_is_not_found(ann: Person) -> None:
    for path in ("corpora", "models", "jobs", "texts", "checkpoints"):
        assert "'mine'" in problem(ann.get(f"/v1/{path}/mine"), 404)["detail"]
        problem(ann.get(f"/v1/{path}/a%00b"), 404)
