"""The one module that knows flask-openapi: routes that are checked and described by types.

A handler says by its parameters what it reads: `path`, `query`, `header` and `body` are
pydantic models. What a route does not read is refused where it is sent all the same.
"""

import functools
import json
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar, cast, get_type_hints

from flask import Flask, Response, current_app, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from flask_openapi.openapi import OpenAPI
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from api.errors import BadJson, Invalid, UnsupportedMedia
from api.http.request_body import WholeRequest
from api.http.validation_errors import explain
from api.schemas.replies import Problem

OPENAPI_VERSION = "3.1.1"
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
READS_BODY_ITSELF = "reads_body_itself"
GIVES_OTHER_THAN_JSON = "gives_other_than_json"

Said = TypeVar("Said", bound=BaseModel)
Handler = TypeVar("Handler", bound=Callable[..., Response])

_PROBLEM: dict[str, Any] = {
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
}
_PROBLEMS: dict[str, Any] = {
    "401": _PROBLEM | {"description": "No key, or none that is known"},
    "404": _PROBLEM | {"description": "There is none, or none that you may see"},
    "422": _PROBLEM | {"description": "A field has a value it may not have"},
    "default": _PROBLEM | {"description": "Any other error"},
}


class StrictJson(DefaultJSONProvider):
    """JSON as RFC 8259 has it: NaN and Infinity are no numbers, and depth has an end."""

    def loads(self, s: str | bytes, **options: Any) -> Any:
        """Parse.

        Raises:
            ValueError: Not JSON.
        """
        try:
            return json.loads(s, parse_constant=_refuse_constant, **options)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


class Resource:
    """The routes of one thing, all under ``/v1`` (or elsewhere), each needing a key (or not)."""

    def __init__(
        self, name: str, description: str, *, prefix: str = "/v1", needs_key: bool = True
    ) -> None:
        responses: Any = _PROBLEMS if needs_key else {"default": _PROBLEMS["default"]}
        self.blueprint = APIBlueprint(
            name,
            __name__,
            url_prefix=prefix,
            abp_tags=[Tag(name=name, description=description)],
            abp_security=[{"key": []}] if needs_key else [],
            abp_responses=responses,
        )

    def get(
        self, rule: str, reply: type[BaseModel] | dict[str, Any], **more: Any
    ) -> Callable[[Handler], Handler]:
        """A route that reads."""
        return self._route("get", rule, {200: reply}, more)

    def post(
        self, rule: str, status: int, reply: type[BaseModel], **more: Any
    ) -> Callable[[Handler], Handler]:
        """A route that makes something or sets it going."""
        return self._route("post", rule, {status: reply}, more)

    def patch(self, rule: str, reply: type[BaseModel]) -> Callable[[Handler], Handler]:
        """A route that changes something."""
        return self._route("patch", rule, {200: reply}, {})

    def delete(self, rule: str) -> Callable[[Handler], Handler]:
        """A route that takes something away."""
        return self._route("delete", rule, {204: None}, {})

    def _route(
        self, method: str, rule: str, responses: dict[int, Any], more: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        also = more.pop("also", {})
        add = getattr(self.blueprint, method)(rule, responses=responses | also, **more)

        def register(handler: Handler) -> Handler:
            add(handler)
            return handler

        return register


def reads_body_itself(handler: Handler) -> Handler:
    """Mark a handler whose body is not simply JSON of one model."""
    setattr(handler, READS_BODY_ITSELF, True)
    return handler


def gives_other_than_json(handler: Handler) -> Handler:
    """Mark a handler with one representation, which is sent whatever `Accept` says."""
    setattr(handler, GIVES_OTHER_THAN_JSON, True)
    return handler


def make_app(
    description: str, resources: Sequence[Resource], before: Sequence[Callable[[], None]]
) -> Flask:
    """An application with these resources.

    Args:
        description: What its OpenAPI description begins with.
        resources: Its routes.
        before: Called in this order before what is sent is checked.
    """
    app = OpenAPI(
        "api",
        info={"title": "Quire", "version": _version(), "description": description},
        security_schemes={"key": {"type": "http", "scheme": "bearer"}},
        validation_error_model=Problem,
        validation_error_callback=_refuse,
        doc_ui=False,
        static_folder=None,
    )
    app.openapi_version = OPENAPI_VERSION
    app.request_class = WholeRequest
    app.json = StrictJson(app)
    for check in (*before, _check_what_is_sent):
        app.before_request(check)
    for resource in resources:
        app.register_api(resource.blueprint)
    return app


def describe(app: Flask) -> dict[str, Any]:
    """The OpenAPI description of an application of `make_app`."""
    described: dict[str, Any] = cast(OpenAPI, app).api_doc
    return described


def handler_of_request() -> Callable[..., Any] | None:
    """The handler that will answer this request; None where there is none (404, 405)."""
    endpoint = request.endpoint
    if endpoint is None or endpoint not in current_app.view_functions:
        return None
    view = current_app.view_functions[endpoint]
    return getattr(view, "__wrapped__", view)


@functools.cache
def _reads(handler: Callable[..., Any]) -> frozenset[str]:
    return frozenset(get_type_hints(handler))


def _check_what_is_sent() -> None:
    handler = handler_of_request()
    if handler is None or request.method == "OPTIONS":
        return
    reads = _reads(handler)
    _check_query("query" in reads)
    if hasattr(handler, READS_BODY_ITSELF) or request.method in ("GET", "HEAD"):
        return
    if "body" in reads:
        read_json()
    elif request.get_data() not in (b"", b"{}", b"null"):
        raise Invalid("body", "(something)", "this request takes no body: send none")


def _check_query(has_query: bool) -> None:
    for name, values in request.args.lists():
        if not has_query:
            raise Invalid(name, values[0], "this request takes no query: leave it out")
        if len(values) > 1:
            raise Invalid(name, values, "is given more than once: give it once")


def validated(model: type[Said], said: object) -> Said:
    """What a request says, as a model.

    Raises:
        Invalid: A field is wrong.
    """
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise explain(error) from None


def read_json() -> Any:
    """The body, parsed; flask-openapi finds it parsed already.

    Raises:
        UnsupportedMedia: It does not say that it is JSON.
        BadJson: It is not.
    """
    if not request.is_json:
        raise UnsupportedMedia(
            f"the body is {request.mimetype or 'of no stated type'}: "
            "send JSON with the header Content-Type: application/json"
        )
    try:
        return request.get_json()
    except BadRequest as error:
        # Flask keeps the reason to itself, but for the one that it raised this from.
        reason = getattr(error.__cause__, "description", None) or error.description
        raise BadJson(f"the body is not JSON: {reason}") from None


def _refuse(error: ValidationError) -> Response:
    raise explain(error)


def _version() -> str:
    try:
        return version("quire")
    except PackageNotFoundError:
        return "0.0.0"
