"""Ways out of a refused text, as options of the command line."""

import re
from collections.abc import Sequence

#: How the API's fields are written in a way out.
_FIELD = re.compile(r"\b(encoding|on_invalid|normalize)=([\w-]+)")


def as_options(way: str) -> str:
    """Turn ``declare encoding=cp1252`` into ``declare --encoding cp1252``."""
    return _FIELD.sub(lambda found: f"--{found[1].replace('_', '-')} {found[2]}", way)


def listed(ways: Sequence[str]) -> list[str]:
    """The ways that an error's sentence does not say as well itself: several, or an option."""
    found = [as_options(way) for way in ways]
    return found if len(found) > 1 or found != list(ways) else []
