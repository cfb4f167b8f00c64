"""Keys below ``/openai/v1``: their scopes and their end, and what the audit keeps of them."""

from typing import Any

import pytest

from api.http.openapi import scope_of
from api.http.request_body import handler_of
from shared.tables import SCOPES
from tests.api.harness import ApiHarness, Person, expire
from tests.api.people.test_key_scopes import BY_METHOD, with_scopes
from tests.openai.calls import ROOT, completions, error, events, in_background, queued

NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


def routes(harness: ApiHarness) -> list[tuple[str, str, Any]]:
    """The method, path and handler of every route of this face."""
    return [
        (method, rule.rule, handler_of(harness.app.view_functions[rule.endpoint]))
        for rule in harness.app.url_map.iter_rules()
        if rule.rule.startswith(f"{ROOT}/")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def test_every_route_refuses_a_key_without_its_scope(harness: ApiHarness, ann: Person) -> None:
    keys = {
        scope: with_scopes(harness, "ann", *(each for each in SCOPES[:3] if each != scope))
        for scope in SCOPES[:3]
    }
    walked = routes(harness)
    assert len(walked) > 15
    for method, path, handler in walked:
        scope = scope_of(handler)
        assert scope == BY_METHOD[method], (method, path)
        place = path.replace("<path:id>", "fox").replace("<id>", NOWHERE)
        answer = keys[scope].send(method, place)
        found = error(answer, 403)
        assert (found["type"], found["code"]) == ("permission_error", "missing_scope"), place
        assert f"`{scope}`" in found["message"]
        assert ann.send(method, place).status_code != 403, (method, path)


def test_an_expired_key_is_a_401_that_says_so(harness: ApiHarness, ann: Person) -> None:
    moment = expire(harness, ann)
    for method, path in (("GET", "models"), ("POST", "completions"), ("DELETE", "files/x")):
        found = error(ann.send(method, f"{ROOT}/{path}"), 401)
        assert (found["type"], found["code"]) == ("authentication_error", "key_expired")
        assert f"{moment:%Y-%m-%dT%H:%M:%SZ}" in found["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_that_outlasts_its_key_is_not_told(
    harness: ApiHarness, ann: Person, admin: Person, stream: bool
) -> None:
    harness.model(ann, name="orwell")
    reader = with_scopes(harness, "ann", "read")
    with in_background(completions, ann, model="orwell", stream=stream) as future:
        [job] = queued(reader)
        expire(harness, ann)
        harness.write(job, ["a secret"])
        answer = future.result(30)
    found = events(answer.text)[-1]["error"] if stream else error(answer, 401)
    assert found["code"] == "key_expired"
    assert "a secret" not in answer.text


def test_a_session_is_no_key(ann: Person) -> None:
    ann.client.set_cookie("session", ann.key)
    answer = ann.client.get(f"{ROOT}/models")
    assert error(answer, 401)["code"] == "invalid_api_key"


def test_deletions_are_recorded(harness: ApiHarness, ann: Person, admin: Person) -> None:
    model = harness.model(ann, name="orwell")
    spare = ann.upload(name="spare")
    assert ann.delete(f"{ROOT}/models/orwell").status_code == 200
    assert ann.delete(f"{ROOT}/files/{spare}").status_code == 200
    for action, kind, row in (
        ("model.deleted", "model", model["id"]),
        ("corpus.deleted", "corpus", spare),
    ):
        [entry] = admin.items(f"/v1/audit?action={action}")
        assert (entry["actor"], entry["user"]) == ("ann", "ann")
        assert entry["resource"] == {"kind": kind, "id": row}
