"""Writes docs/settings.md from shared/setting_fields.py: `make settings`."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

<!-- Written by `make settings` from shared/setting_fields.py. -->

Every setting is a variable of the environment, read once when a part starts. A value that is not
allowed stops it with the variable's name and the rule; an empty one counts as not set. A name that
begins with `QUIRE_` and is none of these is refused too, so that a slip is not taken for a default.
What a user may have at most is the default for everybody; `quire user set` changes it for one.
"""
#: The first setting of each part.
PARTS = {
    "database_url": "Where the state is",
    "lease_seconds": "The queue, and what a user may have",
    "api_host": "The API",
    "devices": "The workers",
    "log_format": "Logs",
    "client_url": "The client, and the demo",
}
COLUMNS = "| variable | default | allowed | |\n| --- | --- | --- | --- |"
#: How a bound of pydantic's reads.
BOUNDS = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "to {}"}


def page() -> str:
    """The whole file."""
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
        raise TypeError(f"{field.validation_alias}: a setting without its words")
    said = extra["default"]
    return str(said) if said is not None else _shown(field.default)


def _allowed(field: FieldInfo) -> str:
    kind = field.annotation
    if isinstance(kind, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        return ", ".join(map(_shown, get_args(kind)))
    if kind is bool:
        return "`true`, `false`"
    words: dict[object, str] = {
        int: "whole",
        float: "a number",
        str: "text",
        SecretStr: "text",
        Path: "a path",
    }
    bounds = [
        form.format(_number(getattr(rule, key)))
        for rule in field.metadata
        for key, form in BOUNDS.items()
        if hasattr(rule, key)
    ]
    return f"{words[kind]} {' '.join(bounds)}".rstrip()


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_number(value)}`" if isinstance(value, int | float) else f"`{value}`"


def _number(value: Any) -> str:
    """Whole where it is; never in powers of ten, which a reader would have to work out."""
    return str(int(value)) if value == int(value) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
