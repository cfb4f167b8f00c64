"""How a setting is defined."""

from typing import Annotated, Any

from pydantic import Field

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def setting(
    variable: str, about: str, *default: Any, default_text: str | None = None, **rules: Any
) -> Any:
    """Define a field of `Settings`.

    Args:
        variable: The environment variable.
        about: Its description in docs/settings.md.
        default: The value if the variable is not set; or give `default_factory` in `rules`.
        default_text: The default in words, if it depends on the machine.
        rules: Arguments of pydantic's `Field`.
    """
    extra: dict[str, Any] = {"default": default_text}
    return Field(
        *default, validation_alias=variable, description=about, json_schema_extra=extra, **rules
    )
