"""Writes docs/settings.md from shared/setting_fields/: `make settings`."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

<!-- Written by `make settings` from shared/setting_fields/. -->

Every setting is an environment variable, which a part reads once when it starts. An invalid value
stops the part with the variable's name and the rule; an empty value counts as not set. Unknown
variables that start with `QUIRE_` are rejected too, so that a misspelt name does not go unnoticed.
The limits per user are defaults for all users; `quire user set` changes most of them for one user,
and `quire group set` for the members of a group.
"""
#: The first setting of each part.
PARTS = {
    "database_url": "Storage",
    "lease_seconds": "The queue and the limits per user",
    "enrolment_days": "Accounts",
    "api_host": "The API",
    "webhook_allow": "Webhooks and mail",
    "devices": "The workers",
    "log_format": "Logs",
    "client_url": "The client and the demo",
}
COLUMNS = "| variable | default | allowed | description |\n| --- | --- | --- | --- |"
#: Pydantic's bounds in words.
BOUNDS = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "to {}"}


def page() -> str:
    """Render the whole file."""
    return "\n".join((HEAD.rstrip(), *_lines())) + "\n"


def _lines() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        if name in PARTS:
            yield f"\n## {PARTS[name]}\n\n{COLUMNS}"
        cells = (f"`{field.validation_alias}`", _default(field), _allowed(field), field.description)
        yield f"| {' | '.join(map(str, cells))} |"


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"{field.validation_alias}: a setting without a default text")
    default_text = extra["default"]
    return str(default_text) if default_text is not None else _code(field.default)


def _allowed(field: FieldInfo) -> str:
    kind = field.annotation
    if isinstance(kind, UnionType):
        kind = next(member for member in get_args(kind) if member is not type(None))
    if get_origin(kind) is Literal:
        return ", ".join(map(_code, get_args(kind)))
    if kind is bool:
        return "`true`, `false`"
    type_names: dict[object, str] = {
        int: "an integer",
        float: "a number",
        str: "text",
        SecretStr: "text",
        Path: "a path",
    }
    bounds = [
        template.format(_number(getattr(rule, key)))
        for rule in field.metadata
        for key, template in BOUNDS.items()
        if hasattr(rule, key)
    ]
    return f"{type_names[kind]} {' '.join(bounds)}".rstrip()


def _code(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_number(value)}`" if isinstance(value, int | float) else f"`{value}`"


def _number(value: Any) -> str:
    """Render a number, an integer if it is one, without an exponent."""
    return str(int(value)) if value == int(value) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
