"""What a request can hold: text that is Unicode, and numbers that JSON has."""

import math
import re
from collections.abc import Mapping
from typing import Any

from quire.errors import InvalidInput

#: Half a character. Python writes a byte that is not UTF-8 as one of the last 128.
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED_BYTES = range(0xDC80, 0xDD00)


def check_sendable(field: str, value: Any) -> None:
    """Refuse what JSON can't hold: bytes that were no UTF-8, and numbers that are none.

    Args:
        field: The field of the request.
        value: Its value, also lists and mappings of values.

    Raises:
        InvalidInput: Names the field and what is wrong with it.
    """
    if isinstance(value, str):
        found = SURROGATE.search(value)
        if found is not None:
            point = ord(found[0])
            what = f"byte 0x{point - 0xDC00:02x}" if point in ESCAPED_BYTES else f"U+{point:04X}"
            raise InvalidInput(
                f"{field}: not valid UTF-8 ({what} at position {found.start()}). Check the "
                "encoding of the terminal or of the script"
            )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{field}: {value} is not a number that can be used")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_sendable(field, key)
            check_sendable(f"{field}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_sendable(field, inner)
