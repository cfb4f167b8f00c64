"""What is wrong with a request, in messages that name the field, its value and the bound."""

import difflib
import json
from typing import Any

from pydantic import ValidationError

from api.errors import Invalid
from api.schemas import generation, params, requests, training, users
from api.schemas.replies import FieldError
from api.schemas.sampling import TEMPERATURE_FORMS
from shared.texts.characters import forbidden_at

MAX_VALUE_CHARACTERS = 100
MAX_LISTED_ERRORS = 5
#: Of a text that is quoted in an error.
SHOWN_CHARACTERS = 40
#: Models by class name, to look up which fields a request has.
_REQUEST_MODELS = {
    **vars(params),
    **vars(requests),
    **vars(training),
    **vars(generation),
    **vars(users),
}
REQUIRED = "required"
UNKNOWN_FIELD = "unknown field"


def check_characters(value: Any, field: str) -> None:
    """Refuse strings that a database or JSON can't hold, wherever in a value they are.

    Args:
        value: A string, or lists and objects of them.
        field: Where the value stands in the request.

    Raises:
        Invalid: It has U+0000, a lone surrogate or a noncharacter.
    """
    pending = [(field, value)]
    while pending:
        field, value = pending.pop()
        if isinstance(value, str):
            position = forbidden_at(value)
            if position is not None:
                raise Invalid(
                    field or "body",
                    shown(value),
                    f"must not contain U+{ord(value[position]):04X} (at position {position}), "
                    "which is no character of a text. Leave it out",
                    code="forbidden_character",
                    ways=["leave it out"],
                )
        elif isinstance(value, dict):
            for key, inner in value.items():
                pending.append((field, key))
                pending.append((f"{field}.{shown(key)}" if field else shown(key), inner))
        elif isinstance(value, list):
            pending += [(field, inner) for inner in value]


def shown(text: str) -> str:
    """Return the beginning of a text, with what JSON can't hold escaped."""
    return text[:SHOWN_CHARACTERS].encode("ascii", "backslashreplace").decode()


def explain(error: ValidationError) -> Invalid:
    """Return an API error that says what is wrong with each field."""
    errors = [_field_error(item, error.title) for item in error.errors(include_url=False)]
    details = [f"{item.field}: {item.message}{_got(item)}" for item in errors[:MAX_LISTED_ERRORS]]
    if len(errors) > MAX_LISTED_ERRORS:
        details.append(f"and {len(errors) - MAX_LISTED_ERRORS} more")
    first = errors[0]
    invalid = Invalid(first.field, first.value, first.message)
    invalid.detail, invalid.errors = "; ".join(details), errors
    return invalid


def _field_error(item: Any, title: str) -> FieldError:
    field = ".".join(str(part) for part in item["loc"] if part not in TEMPERATURE_FORMS) or "body"
    kind = item["type"]
    if kind == "missing":
        return FieldError(field=field, message=REQUIRED)
    if kind == "extra_forbidden":
        message = _unknown_field(item, title)
        return FieldError(field=field, value=_shorten(item["input"]), message=message)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be a JSON object"
    else:
        message = item["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
        message = message.replace("String should", "must", 1).replace("List should", "must", 1)
    if kind == "string_pattern_mismatch":
        message = _pattern_message(item["ctx"]["pattern"], message)
    return FieldError(field=field, value=_shorten(item["input"]), message=message)


def _pattern_message(pattern: str, default: str) -> str:
    if "8}-" in pattern:
        names = "best, latest or an id" if "best" in pattern else "an id"
        return f"must be {names} such as 01890a5d-ac96-774b-bcce-b302099a8057"
    if "\\x1f" in pattern:
        return "must not contain control characters"
    return default


def _unknown_field(item: Any, title: str) -> str:
    model = _REQUEST_MODELS.get(title)
    known = []
    if model is not None and len(item["loc"]) == 1:
        known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
    if near:
        return f"{UNKNOWN_FIELD}. Did you mean {near[0]}?"
    return f"{UNKNOWN_FIELD}. Known fields: {', '.join(known)}" if known else UNKNOWN_FIELD


def _shorten(value: object) -> Any:
    """Return the value in a form that JSON can hold, cut if it is long."""
    try:
        written = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        value = written = repr(value)
    if len(written) <= MAX_VALUE_CHARACTERS:
        return value
    text = value if isinstance(value, str) else written
    return f"{text[:MAX_VALUE_CHARACTERS]}…"


def _got(item: FieldError) -> str:
    missing = item.value is None and item.message == REQUIRED
    if missing or item.message.startswith(UNKNOWN_FIELD):
        return ""
    return f" (got {json.dumps(item.value, ensure_ascii=False)})"
