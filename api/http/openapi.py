"""Typed routes: the only module that imports flask-openapi.

A handler's parameters `path`, `query`, `header` and `body` are pydantic models. They validate the
request and describe it in the OpenAPI document. A query or body that no parameter reads is refused.
"""

import functools
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar, cast, get_type_hints

from flask import Flask, Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from flask_openapi.openapi import OpenAPI
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from api.errors import BadJson, Invalid, NotFound, UnsupportedMedia
from api.http.request_body import CompleteRequest, StrictJson, this_request
from api.http.rules import Rule
from api.http.validation_errors import check_characters, explain, shown
from api.schemas.replies import Problem
from shared.accounts import Scope
from shared.texts.characters import forbidden_at

OPENAPI_VERSION = "3.1.1"
JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
READS_BODY_ITSELF = "reads_body_itself"
RETURNS_NON_JSON = "returns_non_json"
SCOPE = "scope"
#: The scope that a key needs for a request, unless the route names another one.
SCOPES_OF_METHODS: dict[str, Scope] = {
    "get": "read",
    "post": "submit",
    "patch": "manage",
    "delete": "manage",
}

Model = TypeVar("Model", bound=BaseModel)
Handler = TypeVar("Handler", bound=Callable[..., Response])

_PROBLEM: dict[str, Any] = {
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
}
_PROBLEMS: dict[str, Any] = {
    "401": _PROBLEM | {"description": "The API key is missing, unknown, revoked or expired"},
    "403": _PROBLEM | {"description": "The key lacks the scope, or its user the permission"},
    "404": _PROBLEM | {"description": "The resource does not exist, or you may not see it"},
    "422": _PROBLEM | {"description": "A field has an invalid value"},
    "429": _PROBLEM
    | {
        "description": "Too many requests, or a cap that time lifts",
        "headers": {
            "Retry-After": {
                "description": "Seconds after which to try again",
                "schema": {"type": "integer"},
            },
            "RateLimit-Policy": {
                "description": "The limits of this request, as in "
                "draft-ietf-httpapi-ratelimit-headers: `q` requests in `w` seconds",
                "schema": {"type": "string"},
            },
            "RateLimit": {
                "description": "What is left: `r` requests now, and all of them after `t` seconds",
                "schema": {"type": "string"},
            },
        },
    },
    "default": _PROBLEM | {"description": "Any other error"},
}


class Resource:
    """The routes of one resource, under ``/v1`` and with an API key by default.

    Every route that needs a key needs a scope of it: the one that its method stands for, unless it
    names another.
    """

    def __init__(
        self, name: str, description: str, *, prefix: str = "/v1", needs_key: bool = True
    ) -> None:
        always = {status: _PROBLEMS[status] for status in ("422", "default")}
        responses: Any = _PROBLEMS if needs_key else always
        self.blueprint = APIBlueprint(
            name,
            __name__,
            url_prefix=prefix,
            abp_tags=[Tag(name=name, description=description)],
            abp_responses=responses,
        )
        self._needs_key = needs_key

    def get(
        self, rule: str, reply: type[BaseModel] | dict[str, Any], **options: Any
    ) -> Callable[[Handler], Handler]:
        """Register a route that reads."""
        return self._route("get", rule, {200: reply}, options)

    def post(
        self, rule: str, status: int, reply: type[BaseModel], **options: Any
    ) -> Callable[[Handler], Handler]:
        """Register a route that creates a resource or starts an action."""
        return self._route("post", rule, {status: reply}, options)

    def patch(
        self, rule: str, reply: type[BaseModel], **options: Any
    ) -> Callable[[Handler], Handler]:
        """Register a route that updates a resource."""
        return self._route("patch", rule, {200: reply}, options)

    def delete(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Register a route that deletes a resource."""
        return self._route("delete", rule, {204: None}, options)

    def _route(
        self, method: str, rule: str, responses: dict[int, Any], options: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        other_responses = options.pop("other_responses", {})
        scope: Scope = options.pop("scope", SCOPES_OF_METHODS[method])
        if self._needs_key:
            # OpenAPI 3.1 lists the roles that a request needs where OAuth lists its scopes.
            options["security"] = [{"key": [scope]}]
        add = getattr(self.blueprint, method)(
            rule, responses=responses | other_responses, **options
        )

        def register(handler: Handler) -> Handler:
            if self._needs_key:
                setattr(handler, SCOPE, scope)
            add(handler)
            return handler

        return register


def scope_of(handler: Callable[..., Any]) -> Scope:
    """Return the scope that a key needs for a handler.

    Raises:
        AttributeError: The handler was not registered by a `Resource` that needs keys.
    """
    scope: Scope = getattr(handler, SCOPE)
    return scope


def reads_body_itself(handler: Handler) -> Handler:
    """Mark a handler that parses the request body itself."""
    setattr(handler, READS_BODY_ITSELF, True)
    return handler


def returns_non_json(handler: Handler) -> Handler:
    """Mark a handler whose response ignores the `Accept` header."""
    setattr(handler, RETURNS_NON_JSON, True)
    return handler


def make_app(
    description: str,
    resources: Sequence[Resource],
    before: Sequence[Callable[[CompleteRequest], None]],
) -> Flask:
    """Create an application with these resources.

    Args:
        description: The introduction of the OpenAPI document.
        resources: The resources.
        before: Functions to call before the request is validated, in this order.
    """
    app = _Application(
        "api",
        info={"title": "Quire", "version": _version(), "description": description},
        security_schemes={"key": {"type": "http", "scheme": "bearer"}},
        validation_error_model=Problem,
        validation_error_callback=_raise_invalid,
        doc_ui=False,
        static_folder=None,
    )
    app.openapi_version = OPENAPI_VERSION
    app.request_class = CompleteRequest
    app.json = StrictJson(app)
    checks = (*before, _check_parts)

    @app.before_request
    def check_all() -> None:
        current = this_request()
        for check in checks:
            check(current)

    for resource in resources:
        app.register_api(resource.blueprint)
    return app


class _Application(OpenAPI):
    """An application whose functions are all synchronous: Flask would ask each in each request."""

    url_rule_class = Rule

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function itself."""
        return func


def describe(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of an application that `make_app` created."""
    document: dict[str, Any] = cast(OpenAPI, app).api_doc
    return document


@functools.cache
def _parameters(handler: Callable[..., Any]) -> frozenset[str]:
    return frozenset(get_type_hints(handler))


def _check_parts(current: CompleteRequest) -> None:
    handler = current.handler
    if handler is None or current.method == "OPTIONS":
        return
    parameters = _parameters(handler)
    for name, value in (current.view_args or {}).items():
        if forbidden_at(value) is not None:  # PostgreSQL can't even look it up
            raise NotFound(name, shown(value))
    if current.query_string:
        _check_query(current, "query" in parameters)
    if hasattr(handler, READS_BODY_ITSELF) or current.method in ("GET", "HEAD"):
        return
    if "body" in parameters:
        read_json()
    elif current.get_data() not in (b"", b"{}", b"null"):
        raise Invalid("body", "(not empty)", "not allowed for this request. Send no body")


def _check_query(current: CompleteRequest, has_query: bool) -> None:
    check_characters(current.args.to_dict(flat=False), "")
    for name, values in current.args.lists():
        if not has_query:
            raise Invalid(name, values[0], "this request takes no query parameters. Leave it out")
        if len(values) > 1:
            raise Invalid(name, values, f"given {len(values)} times. Give it once")


def validate(model: type[Model], value: object) -> Model:
    """Validate part of a request.

    Raises:
        Invalid: A field has an invalid value.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise explain(error) from None


def read_json() -> Any:
    """Parse the request body as JSON. Flask caches the result for flask-openapi.

    Raises:
        UnsupportedMedia: The Content-Type is not JSON.
        BadJson: The body is not valid JSON.
    """
    current = this_request()
    # Looked at first, because `is_json` takes the header apart.
    if current.content_type != JSON and not current.is_json:
        raise UnsupportedMedia(
            f"the body has {_content_type(current)}. "
            "Send JSON with the header Content-Type: application/json"
        )
    try:
        data = current.get_data()
        body = current.get_json(force=True)
        # Zeros, because JSON may also come in UTF-16, where an escape has other bytes.
        if not data.isascii() or b"\\u" in data or b"\0" in data:
            check_characters(body, "")
        return body
    except BadRequest as error:
        # Flask hides the reason in the exception that caused this one.
        reason = getattr(error.__cause__, "description", None) or error.description
        raise BadJson(f"the body is not valid JSON ({reason})") from None


def _content_type(current: CompleteRequest) -> str:
    return f"Content-Type {current.mimetype}" if current.mimetype else "no Content-Type"


def _raise_invalid(error: ValidationError) -> Response:
    raise explain(error)


def _version() -> str:
    try:
        return version("quire")
    except PackageNotFoundError:
        return "0.0.0"
