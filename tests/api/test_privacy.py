"""Another user's private resources return 404, exactly like missing ones."""

import re
from typing import Any

from shared.worker_registry import WorkerInfo, register
from tests.api.harness import DEVICE, ApiHarness, Person, problem, record

UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/corpora/{corpus}", None),
    ("GET", "/v1/corpora/{corpus}/text", None),
    ("PATCH", "/v1/corpora/{corpus}", {"name": "x"}),
    ("DELETE", "/v1/corpora/{corpus}", None),
    ("POST", "/v1/train", {"corpus": "{corpus}"}),
    ("POST", "/v1/generate", {"model": "{model}"}),
    ("GET", "/v1/jobs/{job}", None),
    ("POST", "/v1/jobs/{job}/cancel", None),
    ("POST", "/v1/jobs/{job}/pause", None),
    ("POST", "/v1/jobs/{job}/resume", None),
    ("POST", "/v1/jobs/{job}/rerun", None),
    ("GET", "/v1/jobs/{job}/texts", None),
    ("GET", "/v1/jobs/{job}/metrics", None),
    ("GET", "/v1/jobs/{job}/history", None),
    ("GET", "/v1/jobs/{job}/events", None),
    ("GET", "/v1/models/{model}", None),
    ("PATCH", "/v1/models/{model}", {"name": "x"}),
    ("DELETE", "/v1/models/{model}", None),
    ("GET", "/v1/models/{model}/checkpoints", None),
    ("GET", "/v1/models/{model}/checkpoints/best", None),
    ("GET", "/v1/models/{model}/checkpoints/{checkpoint}", None),
    ("GET", "/v1/checkpoints/{checkpoint}", None),
    ("GET", "/v1/checkpoints/{checkpoint}/download", None),
    ("GET", "/v1/texts/{text}", None),
    ("DELETE", "/v1/keys/{key}", None),
    ("DELETE", "/v1/sessions/{session}", None),
]
#: Paths with a parameter that are tested elsewhere.
TESTED_ELSEWHERE = {
    "/v1/users/{user}": "refused before the lookup: test_users.py",
    "/v1/users/{user}/keys": "refused before the lookup: test_users.py",
    "/v1/usage/{user}": "refused before the lookup: test_caps.py",
    "/v1/jobs/{id}/promote": "refused before the lookup: test_scheduling.py",
    "/v1/jobs/{id}/lift": "refused before the lookup: test_scheduling.py",
}


def fill(pattern: Any, ids: dict[str, str]) -> Any:
    if isinstance(pattern, dict):
        return {name: fill(value, ids) for name, value in pattern.items()}
    return pattern.format(**ids) if isinstance(pattern, str) else pattern


def create_resources(harness: ApiHarness, person: Person) -> dict[str, str]:
    model = harness.model(person)
    written = person.post("/v1/generate", {"model": model["id"]}).json
    harness.write(written)
    texts = person.get(f"/v1/jobs/{written['id']}").json["texts"]
    session = harness.app.test_client().post("/v1/session", json={"key": person.key}).json
    return {
        "corpus": model["corpus"],
        "model": model["id"],
        "job": model["job"],
        "checkpoint": model["checkpoints"]["best"],
        "text": texts[0]["id"],
        "key": person.items(f"/v1/users/{person.name}/keys")[0]["id"],
        "session": session["id"],
    }


def test_every_route_hides_private_resources_like_missing_ones(
    harness: ApiHarness, ann: Person, bob: Person, admin: Person
) -> None:
    ids = create_resources(harness, ann)
    for person in (bob, admin):
        for method, path, body in ROUTES:
            if person is admin and ("/keys/" in path or "/sessions/" in path):
                continue  # admins manage all keys and their sessions
            private = person.send(method, fill(path, ids), json=fill(body, ids))
            missing_ids = dict.fromkeys(ids, UNKNOWN_ID)
            missing = person.send(method, fill(path, missing_ids), json=fill(body, missing_ids))
            answers = [problem(private, 404), problem(missing, 404)]
            for id in ids.values():
                answers[0]["detail"] = answers[0]["detail"].replace(id, UNKNOWN_ID)
            assert answers[0] == answers[1], (method, path)
            kept = {"Content-Type", "Cache-Control", "Allow", "WWW-Authenticate", "Location"}
            headers = [
                {name: value for name, value in answer.headers.items() if name in kept}
                for answer in (private, missing)
            ]
            assert headers[0] == headers[1]
    assert ann.get(f"/v1/corpora/{ids['corpus']}").status_code == 200


def test_no_route_was_forgotten(ann: Person) -> None:
    paths = ann.get("/openapi.json").json["paths"]
    wanted = {
        (method.upper(), re.sub(r"\{(id|checkpoint|key|session)\}", "", path))
        for path, operations in paths.items()
        for method in operations
        if "{" in path and path not in TESTED_ELSEWHERE
    }
    tested = {(method, re.sub(r"\{\w+\}|best", "", path)) for method, path, _body in ROUTES}
    assert wanted <= tested


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


def test_no_reply_tells_which_private_corpus_a_shared_model_was_trained_on(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload()
    model = harness.model(ann, corpus)
    assert ann.patch(f"/v1/models/{model['id']}", {"visibility": "server"}).status_code == 200
    answer = bob.post("/v1/generate", {"model": model["id"], "length": 5, "prompt": "It "})
    job = answer.json
    harness.write(job)
    text = bob.items("/v1/texts")[0]
    for reply in (
        answer,
        *map(
            bob.get,
            [
                f"/v1/jobs/{job['id']}",
                "/v1/jobs",
                f"/v1/jobs/{job['id']}/texts",
                f"/v1/jobs/{job['id']}/events",
                f"/v1/jobs/{job['id']}/history",
                f"/v1/texts/{text['id']}",
                "/v1/models",
                f"/v1/models/{model['id']}",
                f"/v1/models/{model['id']}/checkpoints",
                f"/v1/models/{model['id']}/checkpoints/best",
                f"/v1/checkpoints/{model['checkpoints']['best']}",
            ],
        ),
    ):
        assert corpus not in reply.text
    assert bob.post(f"/v1/jobs/{job['id']}/rerun").json["corpus"] is None
    assert ann.get(f"/v1/models/{model['id']}").json["corpus"] == corpus


def test_a_shared_model_shows_no_pieces_of_a_private_corpus_unless_its_owner_allows_it(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    corpus = ann.upload()
    model = harness.model(ann, corpus)
    ann.patch(f"/v1/models/{model['id']}", {"visibility": "server"})
    request = {"model": model["id"], "length": 5}

    def copied_from(person: Person) -> set[Any]:
        job = person.post("/v1/generate", {**request, "prompt": "It "}).json
        claim = harness.claim(job["id"], "generate")
        text = record(
            0, "the sea", None, copied_characters=3, copied_at=0, copied_from=17, known_grams=1.0
        )
        harness.queue.succeed(claim, [text])
        text_id = person.items(f"/v1/jobs/{job['id']}/texts")[0]["id"]
        told = [
            person.get(f"/v1/jobs/{job['id']}").json["texts"][0],
            person.items(f"/v1/jobs/{job['id']}/texts")[0],
            person.items("/v1/texts")[0],
            person.get(f"/v1/texts/{text_id}").json,
        ]
        return {each["novelty"]["copied_from"] for each in told}

    for body in (request, {**request, "prompt_from": "corpus"}):
        error = problem(bob.post("/v1/generate", body), 422)
        assert error["errors"][0]["field"] == "prompt"
        assert "private" in error["detail"]
    assert ann.post("/v1/generate", request).status_code == 202, "her own corpus"
    assert (copied_from(bob), copied_from(ann)) == ({None}, {17})
    allowed = ann.patch(f"/v1/corpora/{corpus}", {"allow_excerpts": True})
    assert allowed.json["allow_excerpts"] is True
    random = bob.post("/v1/generate", request)
    assert random.status_code == 202
    assert copied_from(bob) == {17}
    ann.patch(f"/v1/corpora/{corpus}", {"allow_excerpts": False})
    problem(bob.post(f"/v1/jobs/{random.json['id']}/rerun"), 422)
    ann.patch(f"/v1/corpora/{corpus}", {"visibility": "server"})
    assert bob.post("/v1/generate", request).status_code == 202, "he may read the corpus"
