"""Ways out of a refused text, as options of the command line."""

import re
from collections.abc import Sequence

#: How the API's fields are written in a way out.
_FIELD = re.compile(r"\b(encoding|on_invalid|normalize|items|column)=([\w-]+)")


def as_options(way: str) -> str:
    """Turn ``declare encoding=cp1252`` into ``declare --encoding cp1252``."""
    return _FIELD.sub(lambda found: f"--{found[1].replace('_', '-')} {found[2]}", way)


def listed(ways: Sequence[str]) -> list[str]:
    """The ways as options, if there are options in them; else the error's sentence says it all."""
    found = [as_options(way) for way in ways]
    return found if found != list(ways) else []
