"""The routes below ``/openai/v1``. docs/clients.md describes them, not the OpenAPI document."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from api.error_forms import OPENAI_PREFIX
from api.http.openapi import Handler, Resource


class OpenAiResource(Resource):
    """The routes of one resource."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, description, prefix=OPENAI_PREFIX)

    def remove(self, rule: str, reply: type[BaseModel]) -> Callable[[Handler], Handler]:
        """Register a route that deletes a resource, and says so."""
        return self._route("delete", rule, {200: reply}, {})

    def _route(
        self, method: str, rule: str, responses: dict[int, Any], options: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        return super()._route(method, rule, responses, options | {"doc_ui": False})
