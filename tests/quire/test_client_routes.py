"""The client reaches every route that the OpenAPI document describes, and no other."""

import inspect
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from flask import request, request_started

from quire.client import AsyncClient, Client
from quire.errors import QuireError
from tests.quire.conftest import Served

ID = "00000000-0000-4000-8000-000000000000"
#: Routes without a method, and why.
LEFT_OUT = {
    ("POST", "/v1/session"): "a browser's cookie; the client has its key",
    ("GET", "/v1/session"): "a browser's cookie; the client has its key",
    ("DELETE", "/v1/session"): "a browser's cookie; the client has its key",
    ("POST", "/v1/jobs/{id}/lift"): "the deprecated name of promote",
    ("GET", "/metrics"): "what Prometheus scrapes, in its own format",
    ("GET", "/enrol"): "a page for people, where they redeem a link",
}
#: What the clients of others speak (docs/clients.md), and what is no resource.
OTHERS = ("/openai/", "/docs")
#: Arguments by name; the ids of all others are nobody's.
ARGUMENTS: dict[str, Any] = {
    "data": b"a text",
    "body": {"name": "x"},
    "changes": {"name": "x"},
    "job_ids": [ID],
    "role": "member",
    "name": "x",
}
#: Methods whose required arguments are not told by their signatures.
SOURCES = {"train": {"text": "a text " * 200}, "upload": {"text": "a text"}}
NO_ROUTE = {"close", "anonymous"}


def public_methods(client: type) -> Iterator[tuple[str, Any]]:
    for name, method in inspect.getmembers(client, inspect.isroutine):
        if not name.startswith("_") and name not in NO_ROUTE:
            yield name, method


def call(client: Client, name: str, tmp_path: Path) -> None:
    """Call a method as far as its first answer, whatever that is."""
    method = getattr(client, name)
    file = tmp_path / "file"
    file.write_bytes(b"no model")
    arguments = dict(SOURCES.get(name, {}))
    for parameter in inspect.signature(method).parameters.values():
        wanted = parameter.default is parameter.empty
        if wanted and parameter.kind is not parameter.VAR_KEYWORD and name not in SOURCES:
            arguments[parameter.name] = (
                file if parameter.name == "path" else ARGUMENTS.get(parameter.name, ID)
            )
    with suppress(QuireError):
        found = method(**arguments)
        if isinstance(found, AbstractContextManager):
            with found:
                pass
        elif isinstance(found, Iterator):
            list(islice(found, 1))


def as_path(rule: str) -> str:
    """A rule of Flask's as the document writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def test_the_client_has_a_method_for_every_route(served: Served, tmp_path: Path) -> None:
    app = served.world.app
    # With the routes that the document leaves out.
    spec: Any = app.test_client().get("/openapi.json").json
    described = {
        (method.upper(), path)
        for path, item in spec["paths"].items()
        for method in item
        if not path.startswith(OTHERS)
    } | {
        (method, as_path(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1/")
    }
    used: dict[tuple[str, str], set[str]] = {}
    calling = ""

    def note(_sender: object, **_extra: object) -> None:
        rule = "no route" if request.url_rule is None else request.url_rule.rule
        used.setdefault((request.method, as_path(rule)), set()).add(calling)

    admin = served.world.person("root", "admin")
    with request_started.connected_to(note, app), Client(served.url, admin.key) as client:
        for calling, _ in public_methods(Client):  # read by `note`
            call(client, calling, tmp_path)
        for reference in (("checkpoint_of_model", ID), ("usage", "root")):
            calling = reference[0]
            with suppress(QuireError):
                getattr(client, calling)(reference[1])
    assert {each: used[each] for each in set(used) - described} == {}
    assert described - set(used) == set(LEFT_OUT)


def test_both_clients_have_the_same_methods() -> None:
    def signatures(client: type) -> dict[str, str]:
        return {
            name: re.sub(r"\bAsync(?=[A-Z])|quire\.client\.(aio|sync)\b", "", str(
                inspect.Signature(list(inspect.signature(method).parameters.values()))
            ))
            for name, method in public_methods(client)
        }  # fmt: skip

    assert signatures(Client) == signatures(AsyncClient)
