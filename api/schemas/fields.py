"""The kinds of fields that requests and replies share."""

import functools
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)

Visibility = Literal["private", "server"]
Role = Literal["admin", "member"]

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
#: A database keeps no U+0000, and a name with a line end in it breaks every table.
NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"
NAME_CHARACTERS = 200


def _not_blank(value: str) -> str:
    stripped = value.strip()
    if not stripped:
        raise ValueError("must have a character that is not a space")
    return stripped


Id = Annotated[
    str,
    StringConstraints(pattern=UUID_PATTERN, to_lower=True),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": UUID_PATTERN}),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_CHARACTERS, pattern=NO_CONTROL_CHARACTERS),
    AfterValidator(_not_blank),
]
DescribedVisibility = Annotated[
    Visibility,
    Field(
        description="`private`, or `server`: everybody may read it and generate from it. A model "
        "that begins from a random piece of its corpus shows that piece as the prompt."
    ),
]


def _moment(value: object) -> object:
    if not isinstance(value, str) or not TIMESTAMP_PATTERN.fullmatch(value):
        raise ValueError("must be a time with its zone, such as 2026-01-31T18:00:00Z")
    return datetime.fromisoformat(value)


#: Of a moment in time, as RFC 3339 writes it, in years that every database knows.
TIMESTAMP_PATTERN = re.compile(
    r"[23]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE
)
Timestamp = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Priority = Literal["high", "normal", "low"]


def without_default(schema: dict[str, Any]) -> None:
    """What is left out is not its default in Python: a schema must not say so."""
    schema.pop("default", None)


#: Of an answer: left out where it does not apply.
Omittable: Any = Field(default=None, json_schema_extra=without_default)


class Read(BaseModel):
    """The base of what is read from a request beside its body."""

    @classmethod
    @functools.cache
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """The schema, made once: flask-openapi asks for it at every request."""
        return super().model_json_schema(*args, **options)
