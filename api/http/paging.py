"""Cursor pagination. A cursor holds the sort key of a page's last row; it is opaque to clients."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.errors import Invalid
from api.schemas.params import Page
from shared.tables import Id

LARGEST_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class SortOrder:
    """The sort order of a list, by columns that are unique together.

    Attributes:
        name: The name of the list. A cursor of another list is refused.
        columns: The columns of one table. Their values in the last row form the cursor.
        newest_first: Sort descending instead of ascending.
    """

    name: str
    columns: tuple[InstrumentedAttribute[Any], ...]
    newest_first: bool = True


def read_page(
    session: Session, statement: Select[*tuple[Any, ...]], sort_order: SortOrder, page: Page
) -> tuple[Sequence[Any], str | None]:
    """Return the rows of a page, and the cursor of the next page, which is None on the last.

    The statement's first column must be the entity that has the sort columns.

    Raises:
        Invalid: The cursor is not one of this list.
    """
    if page.cursor is not None:
        statement = statement.where(_after(sort_order, _decode(sort_order, page.cursor)))
    statement = statement.order_by(
        *(
            column.desc() if sort_order.newest_first else column.asc()
            for column in sort_order.columns
        )
    )
    rows = session.execute(statement.limit(page.limit + 1)).all()
    if len(rows) <= page.limit:
        return rows, None
    rows = rows[: page.limit]
    last = rows[-1][0]
    return rows, _encode(sort_order, [getattr(last, column.key) for column in sort_order.columns])


def _after(sort_order: SortOrder, values: list[Any]) -> ColumnElement[bool]:
    # The types matter: each database stores an id differently.
    last = tuple_(*values, types=[column.type for column in sort_order.columns])
    position = tuple_(*sort_order.columns)
    after: ColumnElement[bool] = position < last if sort_order.newest_first else position > last
    return after


def _encode(sort_order: SortOrder, values: list[Any]) -> str:
    data = json.dumps([sort_order.name, *values], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(sort_order: SortOrder, cursor: str) -> list[Any]:
    error = Invalid("cursor", cursor, "not a cursor of this list. Start again without a cursor")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        name, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, TypeError, RecursionError):
        raise error from None
    if name != sort_order.name or len(values) != len(sort_order.columns):
        raise error
    if not all(
        _is_valid(column, value) for column, value in zip(sort_order.columns, values, strict=True)
    ):
        raise error
    return list(values)


def _is_valid(column: InstrumentedAttribute[Any], value: object) -> bool:
    if isinstance(column.type, type(Id)):
        try:
            return isinstance(value, str) and str(UUID(value)) == value
        except ValueError:
            return False
    if column.type.python_type is int:
        return type(value) is int and 0 <= value <= LARGEST_INTEGER
    return isinstance(value, str) and "\0" not in value
