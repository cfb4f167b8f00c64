"""A pydantic error in words: the field, its value, what is allowed."""

import difflib
import json
from typing import Any

from pydantic import ValidationError

from api.errors import Invalid
from api.schemas import generation, params, requests, training, users
from api.schemas.replies import FieldError
from api.schemas.sampling import FORMS

SHOWN_CHARACTERS = 100
SHOWN_ERRORS = 5
#: Where what was said may be looked up by its name, to tell which fields it has.
_SAYABLE = {
    **vars(params),
    **vars(requests),
    **vars(training),
    **vars(generation),
    **vars(users),
}


def explain(error: ValidationError) -> Invalid:
    """The refusal that says what is wrong with each field."""
    items = [_field_error(item, error.title) for item in error.errors(include_url=False)]
    shown = [f"{item.field} {_shown(item)}{item.message}" for item in items[:SHOWN_ERRORS]]
    if len(items) > SHOWN_ERRORS:
        shown.append(f"and {len(items) - SHOWN_ERRORS} more")
    first = items[0]
    refusal = Invalid(first.field, first.value, first.message)
    refusal.detail, refusal.errors = "; ".join(shown), items
    return refusal


def _field_error(item: Any, title: str) -> FieldError:
    field = ".".join(str(part) for part in item["loc"] if part not in FORMS) or "body"
    kind = item["type"]
    if kind == "missing":
        return FieldError(field=field, message="is required")
    if kind == "extra_forbidden":
        return FieldError(field=field, value=_short(item["input"]), message=_unknown(item, title))
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be an object of fields, {…}"
    else:
        message = item["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
        message = message.replace("String should", "must", 1).replace("List should", "must", 1)
    if kind == "string_pattern_mismatch":
        message = _pattern(item["ctx"]["pattern"], message)
    return FieldError(field=field, value=_short(item["input"]), message=message)


def _pattern(pattern: str, message: str) -> str:
    if "8}-" in pattern:
        names = "best, latest or an id" if "best" in pattern else "an id"
        return f"must be {names} such as 01890a5d-ac96-774b-bcce-b302099a8057"
    if "\\x1f" in pattern:
        return "must have no control characters"
    return message


def _unknown(item: Any, title: str) -> str:
    said = _SAYABLE.get(title)
    known = list(said.model_fields) if said is not None and len(item["loc"]) == 1 else []
    near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
    if near:
        return f"is not a field of this request: did you mean {near[0]}?"
    fields = f": it has {', '.join(known)}" if known else ""
    return f"is not a field of this request{fields}"


def _short(value: object) -> Any:
    """The value as JSON can show it, cut where it is long."""
    try:
        written = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        value = written = repr(value)
    if len(written) <= SHOWN_CHARACTERS:
        return value
    text = value if isinstance(value, str) else written
    return f"{text[:SHOWN_CHARACTERS]}…"


def _shown(item: FieldError) -> str:
    unsaid = item.value is None and item.message == "is required"
    if unsaid or item.message.startswith("is not a field"):
        return ""
    return f"is {json.dumps(item.value, ensure_ascii=False)}: "
