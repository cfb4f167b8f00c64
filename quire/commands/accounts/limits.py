"""Limits as options of commands give them."""

from quire.errors import InvalidInput

#: Given in place of a number, it removes a limit, so that the server's own setting holds.
DEFAULT = "default"
#: The same for a limit that no setting stands for.
NONE = "none"


def parse_limit(option: str, value: str, no_limit: str = DEFAULT) -> int | None:
    """Return the number that an option gives, or None for the word that removes the limit.

    Raises:
        InvalidInput: It is neither.
    """
    if value == no_limit:
        return None
    try:
        return int(value)
    except ValueError:
        raise InvalidInput(f"{option} {value}: give a whole number, or `{no_limit}`") from None
