"""The OpenAPI document is correct: requests generated from it get the responses it describes."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.services import EXTENSION
from shared.broker import Broker
from shared.database import make_engine
from shared.queue import Queue
from tests.api.conftest import settings_for
from tests.api.harness import ApiHarness, assert_succeeded
from tests.api.test_private import create_resources

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 8
#: Who signs in, or redeems a link, has no key yet; who has a share link needs none.
WITHOUT_KEY = {
    ("post", "/v1/session"),
    ("get", "/v1/session"),
    ("post", "/v1/enrol"),
    *(
        ("get", f"/v1/shared/{{token}}{rest}")
        for rest in ("", "/metrics", "/texts", "/history", "/events")
    ),
}


@pytest.fixture(scope="module")
def described(
    migrated_sqlite: Path,
    redis_of_session: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiHarness]:
    """One server with resources, for all examples."""
    directory = tmp_path_factory.mktemp("described")
    (directory / "quire.db").write_bytes(migrated_sqlite.read_bytes())
    url = f"sqlite:///{directory}/quire.db"
    engine = make_engine(url)
    found = settings_for(url, redis_of_session.url, directory)
    app = create_app(found, engine, Broker(redis_of_session.url))
    yield ApiHarness(app, engine, Queue(engine, found))
    app.extensions[EXTENSION].close()


def test_no_function_of_a_request_is_asynchronous(described: ApiHarness) -> None:
    """The application does not ask each of them in each request, as Flask would."""
    app = described.app
    hooks = (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs)
    functions: list[Any] = [*app.view_functions.values(), *app.teardown_appcontext_funcs]
    functions += [each for hook in hooks for found in hook.values() for each in found]
    assert len(functions) > 50
    assert [each for each in functions if inspect.iscoroutinefunction(each)] == []


def test_it_is_openapi_3_1(described: ApiHarness) -> None:
    spec = described.app.test_client().get("/openapi.json").json
    assert spec["openapi"].startswith("3.1.")
    assert spec["info"]["title"] == "Quire"
    written = json.dumps(spec)
    for reference in set(part.split('"')[0] for part in written.split('"$ref": "')[1:]):
        place: Any = spec
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
    for schema in spec["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    operations = [
        (path, method, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations:
        assert operation["summary"]
        in_api = path.startswith("/v1") or path == "/metrics"
        needs_key = in_api and (method, path) not in WITHOUT_KEY
        assert bool(operation.get("security")) == needs_key
        problems = operation["responses"]["default"]["content"]
        assert list(problems) == ["application/problem+json"]


def test_promote_replaces_lift(described: ApiHarness) -> None:
    paths = described.app.test_client().get("/openapi.json").json["paths"]  # type: ignore[index]
    assert paths["/v1/jobs/{id}/promote"]["post"]["deprecated"] is False
    assert paths["/v1/jobs/{id}/lift"]["post"]["deprecated"] is True


def test_the_file_format_is_described(described: ApiHarness) -> None:
    spec = described.app.test_client().get("/openapi.json").json
    told = spec["paths"]["/v1/checkpoints/{id}/download"]["get"]["description"]
    for words in ("lstm.{l}.recurrent_kernel", "[U, 4U]", "i, f, c, o", "safetensors"):
        assert words in told


def test_responses_match_the_document(described: ApiHarness) -> None:
    ann = described.person("ann", "admin")
    things = create_resources(described, ann)
    ann.post("/v1/groups", {"name": "class"})
    things["token"] = ann.post("/v1/shares", {"job": things["writing"]}).json["token"]
    schema = schemathesis.openapi.from_wsgi("/openapi.json", described.app)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            if mode.is_positive or operation.body or operation.query or operation.headers:
                _try(operation.as_strategy(generation_mode=mode), ann.key)
        if operation.method.upper() == "GET" and "{" in operation.path:
            found = operation.as_strategy(path_parameters=_named(operation.path, things))
            assert 200 in _try(found, ann.key), operation.label


def test_created_resources_match_the_document(described: ApiHarness) -> None:
    bob = described.person("bob", "admin")
    schema = schemathesis.openapi.from_wsgi("/openapi.json", described.app)
    model = described.model(bob, preset="classic")
    bodies = {
        "/v1/corpora": {"name": "a", "text": "b"},
        "/v1/train": {"corpus": model["corpus"]},
        "/v1/generate": {"model": model["id"]},
        "/v1/next": {"model": model["id"], "prompt": "It "},
        "/v1/shares": {"job": model["job"]},
        f"/v1/models/{model['id']}/restore": None,
        f"/v1/jobs/{model['job']}/rerun": None,
        "/v1/users/bob/keys": {},
        "/v1/notifications": {"url": "https://hooks.example/"},
        "/v1/notifications/test": {"url": "https://hooks.example/"},
        "/v1/webhooks/secret": None,
        "/v1/groups": {"name": "bobs"},
        "/v1/groups/bobs/members": {"user": "eve", "create": True},
    }
    for path, body in bodies.items():
        answer = bob.post(path, body)
        assert_succeeded(answer)
        rule = path.replace(model["job"], "{id}").replace(model["id"], "{id}")
        rule = rule.replace("/bob/", "/{user}/")
        rule = rule.replace("/bobs/", "/{group}/")
        schema[rule]["POST"].validate_response(answer)


def _named(path: str, things: dict[str, str]) -> dict[str, str]:
    kind = {"corpora": "corpus", "deliveries": "delivery"}.get(
        name := path.split("/")[2], name.removesuffix("s")
    )
    named = {"id": things.get(kind, ""), "token": things["token"]}
    return named | {"checkpoint": "best", "user": "ann", "group": "class"}


def _try(cases: Any, key: str) -> set[int]:
    statuses = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        statuses.add(case.call_and_validate(headers=headers, checks=CHECKS).status_code)

    check()
    return statuses
