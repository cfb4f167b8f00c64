"""A long text inside a JSON body, decoded piece by piece.

Python's parser would hold the body as a string and the text as another: up to four bytes a
character each, for one emoji anywhere. Here only the text's place in the body is looked for; the
rest, which is small, goes to the parser.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from api.errors import BadJson, TooLarge

#: Escapes that must stay whole, the halves of a pair together; else bytes up to a quote. Both
#: counts are bounded, so that other threads run in between.
_UNITS = re.compile(
    rb'(?:[^"\\]{1,1024}+'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\u[0-9a-fA-F]{4}"
    rb"|\\[^u]){1,1024}+",
    re.DOTALL,
)
_VALUE = re.compile(rb"\s*:\s*\"")
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
QUOTE = b'"'


@dataclass(frozen=True, slots=True)
class SplitBody:
    """A JSON object without the value of one field.

    Attributes:
        rest: The object with a short string in the place of the value.
        start: Where the value begins in the body, after its quote.
        end: Where it ends, before its quote. The same as `start` where there is no value.
    """

    rest: bytes
    start: int = 0
    end: int = 0


def split(body: bytes, field: str, most: int) -> SplitBody:
    """Take the string value of a field out of a JSON object.

    Args:
        body: The object.
        field: The name of the field, at the top level.
        most: The most bytes that everything else may have.

    Raises:
        BadJson: A string does not end, or the body is not in UTF-8.
        TooLarge: The rest has more bytes.
    """
    if body.startswith(_WIDE_BOMS) or b"\0" in body[:4]:
        raise BadJson("the body is not valid JSON (it is not in UTF-8)")
    name = json.dumps(field).encode()
    depth = outside = position = start = end = 0
    while (quote := body.find(QUOTE, position, position + most + 1)) >= 0:
        depth += _depth(body[position:quote])
        after = _end_of_string(body, quote + 1) + 1
        outside += after - position
        value = _VALUE.match(body, after) if body[quote:after] == name and depth == 1 else None
        if value is not None:
            if end:
                raise BadJson(f"the body is not valid JSON ({field} is given twice)")
            start, end = value.end(), _end_of_string(body, value.end())
            after = end + 1
        if outside > most:
            break
        position = after
    outside += len(body) - position
    if outside > most:
        raise TooLarge(
            f"besides {field}, the body may have at most {most:,} bytes. Send the text as a "
            f"string in {field}, and shorten the other fields"
        )
    if not end:
        return SplitBody(body)
    return SplitBody(body[:start] + (b"-" if end > start else b"") + body[end:], start, end)


def pieces(body: bytes, part: SplitBody) -> Iterator[str]:
    """The value that was taken out, decoded.

    Raises:
        BadJson: It is not a JSON string.
    """
    position = part.start
    while position < part.end:
        found = _UNITS.match(body, position, part.end)
        if found is None:
            raise BadJson("the body is not valid JSON (invalid escape in a string)")
        end = found.end()
        while end < part.end and body[end] & 0xC0 == 0x80 and end > position + 1:
            end -= 1
        try:
            yield json.loads(QUOTE + body[position:end] + QUOTE)
        except ValueError as error:
            reason = getattr(error, "msg", None) or "it is not in UTF-8"
            raise BadJson(f"the body is not valid JSON ({reason} in a string)") from None
        position = end


def _depth(between: bytes) -> int:
    return sum(map(between.count, (b"{", b"["))) - sum(map(between.count, (b"}", b"]")))


def _end_of_string(body: bytes, position: int) -> int:
    """The place of the quote that ends the string whose content begins at a position."""
    while body[position : position + 1] != QUOTE:
        found = _UNITS.match(body, position)
        if found is None:
            raise BadJson("the body is not valid JSON (a string has no end, or an invalid escape)")
        position = found.end()
    return position
