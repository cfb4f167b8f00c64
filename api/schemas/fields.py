"""Field types that requests and replies share."""

import functools
import re
import unicodedata
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

from shared.accounts import Scope
from shared.hidden_characters import hidden_in_name

Visibility = Literal["private", "group", "server"]
#: That of something new: it can be shared with a group once it is there.
FirstVisibility = Literal["private", "server"]
Role = Literal["admin", "member"]
Scopes = Annotated[
    list[Scope],
    Field(min_length=1, max_length=10, json_schema_extra={"uniqueItems": True}),
]

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
#: A line end in a name breaks every printed table; a control or a mark that turns the direction
#: of writing makes a terminal show another name.
NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+$"
NAME_CHARACTERS = 200


def _not_blank(value: str) -> str:
    stripped = value.strip()
    if not stripped:
        raise ValueError("must contain a character that is not a space")
    return stripped


def _nothing_hidden(value: str) -> str:
    hidden = hidden_in_name(value)
    if hidden is not None:
        name = unicodedata.name(hidden, "a control character")
        raise ValueError(
            f"must not contain U+{ord(hidden):04X} ({name.lower()}), which is not shown or hides "
            "other characters: remove it"
        )
    return value


Id = Annotated[
    str,
    StringConstraints(pattern=UUID_PATTERN, to_lower=True),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": UUID_PATTERN}),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_CHARACTERS, pattern=NO_CONTROL_CHARACTERS),
    AfterValidator(_nothing_hidden),
    AfterValidator(_not_blank),
]
_SHARED = (
    "may read a corpus, and generate from a model and download its checkpoints. A shared model can "
    "give away passages of its corpus that it learnt by heart, even of a private one."
)
DescribedFirstVisibility = Annotated[
    FirstVisibility, Field(description=f"`private`, or `server`: every user {_SHARED}")
]
DescribedVisibility = Annotated[
    Visibility,
    Field(
        description="`private`, `group`: the members and teachers of the group in `group`, or "
        f"`server`: every user {_SHARED}"
    ),
]


def _parse_timestamp(value: object) -> object:
    if not isinstance(value, str) or not TIMESTAMP_PATTERN.fullmatch(value):
        raise ValueError("must be a time with a time zone, such as 2026-01-31T18:00:00Z")
    return datetime.fromisoformat(value)


#: An RFC 3339 timestamp, limited to years that every database supports.
TIMESTAMP_PATTERN = re.compile(
    r"[23]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE
)
Timestamp = Annotated[
    datetime,
    BeforeValidator(_parse_timestamp),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Priority = Literal["high", "normal", "low"]


def without_default(schema: dict[str, Any]) -> None:
    """Remove the default from a schema. Python's default only marks a field that was left out."""
    schema.pop("default", None)


#: A reply field that is left out if it does not apply.
Omittable: Any = Field(default=None, json_schema_extra=without_default)


class RequestPart(BaseModel):
    """The base of the parts of a request besides its body."""

    @classmethod
    @functools.cache
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the schema, cached because flask-openapi asks for it at every request."""
        return super().model_json_schema(*args, **options)
