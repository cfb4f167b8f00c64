"""Requests that name resources, built from the OpenAPI document.

What a path, a query or a body names is found by its parameters' names. A parameter that is not
known here is an error, so that no new route can be forgotten: say which resource it names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from tests.api.harness import Person

UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
#: What `{id}` names in a path, by the segment before it.
COLLECTIONS = {
    "checkpoints": "checkpoint",
    "corpora": "corpus",
    "enrolments": "enrolment",
    "jobs": "job",
    "models": "model",
    "shares": "share",
    "texts": "text",
}
#: What other parameters of paths name.
IN_PATHS = {
    "checkpoint": "checkpoint",
    "group": "group",
    "key": "key",
    "session": "session",
    "user": "user",
}
#: What fields of queries name. `name` is that of a corpus, a model or a job.
IN_QUERIES = {
    "job": "job",
    "jobs": "job",
    "model": "model",
    "name": "name",
    "user": "user",
    "key_prefix": "key",
}
#: What fields of bodies name.
IN_BODIES = {
    "after": "job",
    "checkpoint": "checkpoint",
    "corpus": "corpus",
    "from": "checkpoint",
    "group": "group",
    "job": "job",
    "model": "model",
    "user": "user",
}
#: What fields of bodies name if they take an id; elsewhere such a field holds a text itself.
IDS_IN_BODIES = {"text": "text"}
#: Texts that name nothing which exists, and an example of each.
PLAIN = {
    "address": "127.0.0.1",
    "after": "",
    "column": "text",
    "cursor": "",
    "encoding": "utf-8",
    "name": "x",
    "note": "the best so far",
    "prompt": "It ",
    "separator": "%",
    "stop": "It",
    "text": "It ",
}
#: What a field needs beside it.
COMPANIONS = {"group": {"visibility": "group"}}
#: Headers that differ from one answer to the next.
CHANGING_HEADERS = {"X-Request-Id", "Date", "RateLimit"}


class UnknownParameter(AssertionError):
    """A parameter of the document of which the walk does not know what it names."""

    def __init__(self, operation: str, where: str, name: str) -> None:
        super().__init__(
            f"{operation}: the {where} field {name!r} is new. Say in {__name__} which resource it "
            "names, or that it names none"
        )


@dataclass(frozen=True)
class Slot:
    """A place of a request that names a resource."""

    where: str
    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class Operation:
    """A method of a path, with the places that name resources and the body without these.

    Attributes:
        scope: What a key needs for it.
    """

    method: str
    path: str
    scope: str
    slots: tuple[Slot, ...]
    body: dict[str, Any] | None = field(hash=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def send(
        self, person: Person, values: Mapping[Slot, str], method: str | None = None
    ) -> TestResponse:
        """Send the request with these values of its slots."""
        path = self.path
        query: dict[str, str] = {}
        body = None if self.body is None else dict(self.body)
        for slot, value in values.items():
            if slot.where == "path":
                path = path.replace(f"{{{slot.name}}}", value)
            elif slot.where == "query":
                query[slot.name] = value
            else:
                assert body is not None
                body |= {slot.name: value, **COMPANIONS.get(slot.name, {})}
        return person.send(method or self.method, path, json=body, query_string=query)


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Return all operations of a document that need a key.

    Raises:
        UnknownParameter: It is not known what a parameter names.
    """
    return [
        _operation(document, method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        if described.get("security")
    ]


def _operation(document: Mapping[str, Any], method: str, path: str, described: Any) -> Operation:
    label = f"{method} {path}"
    [[scope]] = [each["key"] for each in described["security"]]
    slots = []
    for parameter in described.get("parameters", ()):
        where, name = parameter["in"], parameter["name"]
        if where == "path":
            slots.append(Slot("path", name, _in_path(label, path, name), True))
        elif where == "query" and (
            kind := _names(label, "query", name, parameter["schema"], IN_QUERIES)
        ):
            slots.append(Slot("query", name, kind, parameter.get("required", False)))
    content = described.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return Operation(method, path, scope, tuple(slots), None)
    schema = _resolve(document, content["application/json"]["schema"])
    required, body = schema.get("required", ()), {}
    for name, of_field in schema["properties"].items():
        if kind := _names(label, "body", name, of_field, IN_BODIES):
            slots.append(Slot("body", name, kind, name in required))
        elif name in required:
            body[name] = _example(document, name, of_field)
    if schema.get("minProperties") and not body:
        name = next(name for name in schema["properties"] if name not in IN_BODIES)
        body[name] = _example(document, name, schema["properties"][name])
    return Operation(method, path, scope, tuple(slots), body)


def _in_path(label: str, path: str, name: str) -> str:
    if name != "id" and name in IN_PATHS:
        return IN_PATHS[name]
    before = path.partition(f"/{{{name}}}")[0].rpartition("/")[2]
    if name != "id" or before not in COLLECTIONS:
        raise UnknownParameter(label, "path", name)
    return COLLECTIONS[before]


def _names(
    label: str, where: str, name: str, schema: Mapping[str, Any], known: Mapping[str, str]
) -> str | None:
    """Return the kind of resource that a field names; None if it names none."""
    texts = [
        each
        for each in _alternatives(schema)
        if each.get("type") == "string" and each.get("format") != "date-time"
        if "enum" not in each and "const" not in each
    ]
    if not texts:
        return None
    if name in known:
        return known[name]
    takes_id = any(each.get("format") == "uuid" for each in texts)
    if takes_id and where == "body" and name in IDS_IN_BODIES:
        return IDS_IN_BODIES[name]
    if name not in PLAIN or takes_id:
        raise UnknownParameter(label, where, name)
    return None


def _alternatives(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas of a value, or of the items if it is a list."""
    found = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return [each.get("items", each) if each.get("type") == "array" else each for each in found]


def _example(document: Mapping[str, Any], name: str, schema: Mapping[str, Any]) -> Any:
    found = _resolve(document, _alternatives(_resolve(document, schema))[0])
    if "enum" in found:
        return found["enum"][0]
    return {"boolean": True, "integer": 1, "number": 1}.get(found["type"], PLAIN.get(name))


def _resolve(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    resolved: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].split("/")[-1]]
    return resolved


@dataclass(frozen=True)
class Answer:
    """What a client sees of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def of(cls, response: TestResponse, value: str, shown: str) -> "Answer":
        """Take a response, with `value` replaced by `shown` of the same length."""
        assert len(value) == len(shown)
        headers = tuple(
            (name, text.replace(value, shown))
            for name, text in sorted(response.headers.items())
            if name not in CHANGING_HEADERS
        )
        return cls(
            response.status_code, headers, response.data.replace(value.encode(), shown.encode())
        )


@dataclass(frozen=True)
class Comparison:
    """The answers to a request that names what is private of another, and what is missing."""

    operation: Operation
    slot: Slot
    method: str
    private: Answer
    missing: Answer

    def __str__(self) -> str:
        return f"{self.method} {self.operation.path}, {self.slot.where} field {self.slot.name}"


#: References of each kind of resource: several are the ways in which the same one is named.
References = Mapping[str, list[str]]


def compare(
    operation: Operation, viewer: Person, own: References, private: References, missing: References
) -> Iterator[Comparison]:
    """Name something private, then something missing, in each place of a request in turn.

    Args:
        operation: The request.
        viewer: Who sends it.
        own: What the viewer has: it fills the other places.
        private: What another user has.
        missing: References like those of `private`, to nothing.
    """
    methods = ("GET", "HEAD") if operation.method == "GET" else (operation.method,)
    for slot in operation.slots:
        filled = {
            each: own[each.kind][0]
            for each in operation.slots
            if each.required and each is not slot
        }
        for theirs, nothing in zip(private[slot.kind], missing[slot.kind], strict=True):
            for method in methods:
                first = operation.send(viewer, {**filled, slot: theirs}, method)
                second = operation.send(viewer, {**filled, slot: nothing}, method)
                yield Comparison(
                    operation,
                    slot,
                    method,
                    Answer.of(first, theirs, nothing),
                    Answer.of(second, nothing, nothing),
                )
