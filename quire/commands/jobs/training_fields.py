"""`--set FIELD=VALUE`: any field of a training's request."""

import json
from typing import Any

from quire.errors import InvalidInput

#: Fields that `--set` may not set, because they have options of their own.
FIELDS_WITH_OPTIONS = frozenset(
    {"corpus", "from", "preset", "name", "visibility", "tokenizer", "epochs", "budget", "seed"}
    | {"holdout", "sample", "priority", "after", "start_before", "deadline", "deadline_seconds"}
)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Parse ``["units=128", "clip_norm=null"]`` into the fields of a request.

    Raises:
        InvalidInput: A setting is not FIELD=VALUE, comes twice, or has an option of its own.
    """
    fields: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        field = field.strip().replace("-", "_")
        if not (field and equals and value.strip()):
            raise InvalidInput(f"--set {setting}: write it as FIELD=VALUE, such as units=128")
        if field in FIELDS_WITH_OPTIONS:
            option = "seconds" if field == "budget" else field.replace("_", "-")
            raise InvalidInput(f"--set {setting}: use the option --{option} instead")
        if field in fields:
            raise InvalidInput(f"--set {field} is given twice")
        fields[field] = _parse_value(value.strip())
    return fields


def _parse_value(text: str) -> Any:
    if text.lower() in {"none", "null"}:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text  # a word, such as optimizer=adam
    return value
