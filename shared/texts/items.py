"""Texts that are lists: where one item ends and the next begins."""

import csv
import io
import json
import re
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shared.texts.characters import forbidden_at, plain
from shared.texts.corpus_text import CorpusText
from shared.texts.findings import Finding, ForbiddenCharacter, RefusedText

ItemsShape = Literal["lines", "blank", "separator", "column", "files"]
#: What stands before and after each item of a stored text: noncharacters of Unicode, which are
#: meant for a program's own use, and which no uploaded text may hold.
ITEM_BEGIN, ITEM_END = "\ufdd0", "\ufdd1"
#: Findings that a shape answers.
_ANSWERED: dict[str, tuple[str, ...]] = {"column": ("list", "csv", "json")}
_DELIMITERS = (",", ";", "\t", "|")
_MOST_NAMED = 20


class NotItems(RefusedText):
    """The text can't be cut into items in the way that was asked for."""

    def __init__(self, field: str, message: str, *ways: str) -> None:
        super().__init__("not_items", message, *ways)
        self.field = field


@dataclass(frozen=True, slots=True)
class ItemsOptions:
    """How a text is cut into items.

    Attributes:
        shape: `lines`: one a line; `blank`: blank lines between them; `separator`: a string;
            `column`: a column of CSV, TSV or JSON lines; `files`: each file is one.
        separator: The string between two items.
        column: The column's name, or its number from 1 on.

    Raises:
        NotItems: The separator or the column is missing, or given without need.
    """

    shape: ItemsShape
    separator: str | None = None
    column: str | None = None

    def __post_init__(self) -> None:
        for field in ("separator", "column"):
            given, wanted = getattr(self, field), self.shape == field
            if wanted and not given:
                raise NotItems(field, f"items: {field} needs a {field}", f"give {field}")
            if given and not wanted:
                raise NotItems(
                    field,
                    f"{field} is {given!r}, but items is {self.shape!r}",
                    f"set items to {field!r}, or leave {field} out",
                )


@dataclass(frozen=True, slots=True)
class Items:
    """What the items of a text are.

    Attributes:
        shape: How they were found.
        count: Their number.
        median: The median of their lengths, in characters.
        longest: The greatest length.
    """

    shape: ItemsShape
    count: int
    median: int
    longest: int

    def as_dict(self) -> dict[str, Any]:
        """The items as JSON values."""
        return asdict(self)


def cut_into_items(text: CorpusText, options: ItemsOptions) -> tuple[CorpusText, Items]:
    """The text with a mark before and after each item, and nothing else between two of them.

    Raises:
        NotItems: There are not two items, or a row lacks the column; the message says what to do.
    """
    stored, lengths, empty, repeated = io.BytesIO(), list[int](), 0, 0
    seen: set[str] = set()
    alphabet, lowercase = {ITEM_BEGIN, ITEM_END}, {ITEM_BEGIN, ITEM_END}
    for item in map(plain, _items(text, options)):
        if not item.strip():
            empty += 1
            continue
        if (position := forbidden_at(item)) is not None:
            raise ForbiddenCharacter(item[position], position)
        repeated += item in seen
        seen.add(item)
        lengths.append(len(item))
        alphabet.update(item)
        lowercase.update(item.lower())
        stored.write(f"{ITEM_BEGIN}{item}{ITEM_END}".encode())
    if len(lengths) < 2:
        raise NotItems(
            "items",
            f"the text has {'one item' if lengths else 'no item'} with items: {options.shape}",
            "name another shape of items, or leave items out to upload a text",
        )
    found = Items(options.shape, len(lengths), int(statistics.median(lengths)), max(lengths))
    message = (
        f"{found.count:,} items, median {found.median:,} characters, longest {found.longest:,}"
    )
    if repeated:
        message += f"; {repeated:,} of them come again"
    if empty:
        message += f"; {empty:,} empty ones were left out"
    answered = _ANSWERED.get(options.shape, ("list",))
    kept = [finding for finding in text.findings if finding.code not in answered]
    whole = replace(
        text,
        data=stored.getvalue(),
        characters=sum(lengths) + 2 * len(lengths),
        alphabet="".join(sorted(alphabet)),
        alphabet_lowercase="".join(sorted(lowercase)),
        findings=(Finding("items", message), *kept),
    )
    return whole, found


def without_marks(text: str, end: str = "\n") -> str:
    """The items of a stored text, each with `end` after it; any other text as it is."""
    return text.replace(ITEM_BEGIN, "").replace(ITEM_END, end)


def _items(text: CorpusText, options: ItemsOptions) -> Iterator[str]:
    whole = text.text
    match options.shape:
        case "lines":
            yield from (line.rstrip("\n") for line in io.StringIO(whole))
        case "blank":
            yield from (part.strip("\n") for part in re.split(r"\n(?:[ \t]*\n)+", whole))
        case "separator":
            yield from (part.strip("\n") for part in whole.split(options.separator or "\n"))
        case "column":
            yield from _column(whole, options.column or "")
        case "files":
            start = 0
            for part in text.parts:
                yield whole[start : start + part.characters].strip("\n")
                start += part.characters


def _column(text: str, column: str) -> Iterator[str]:
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    if first.lstrip().startswith("{"):
        yield from _json_column(text, column)
        return
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = next(row for row in rows if row)
        place = _place(names, column)
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                raise NotItems(
                    "column",
                    f"the row that ends in line {rows.line_num:,} has {len(row):,} fields, and the "
                    f"first one {len(names):,}",
                    "write fields with line ends, quotes or separators between quotes",
                )
            yield row[place]
    except csv.Error as error:
        raise NotItems(
            "column", f"line {rows.line_num:,} is no row of a table: {error}", "correct it"
        ) from None


def _place(names: list[str], column: str) -> int:
    stripped = [name.strip() for name in names]
    if column in stripped:
        return stripped.index(column)
    if column.isascii() and column.isdigit() and 1 <= int(column) <= len(names):
        return int(column) - 1
    raise _no_column(column, stripped)


def _no_column(column: str, names: list[str]) -> NotItems:
    listed = ", ".join(repr(name) for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return NotItems(
        "column", f"there is no column {column!r}", f"name one of {listed}{more}, or its number"
    )


def _json_column(text: str, column: str) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise NotItems(
                "column", f"line {number:,} is not JSON: {error}", "correct it"
            ) from None
        if not isinstance(row, dict):
            raise NotItems("column", f"line {number:,} is not a JSON object", "correct it")
        if column not in row:
            raise _no_column(column, list(row))
        value = row[column]
        if value is not None and not isinstance(value, str):
            raise NotItems(
                "column", f"{column!r} in line {number:,} is not a string", "name another column"
            )
        yield value or ""
