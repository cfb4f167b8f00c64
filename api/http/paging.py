"""Lists in pages. A cursor says where the last page ended; to clients it is opaque."""

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
class Order:
    """How a list is sorted: by columns that are unique together, all one way.

    Attributes:
        name: Of the list: a cursor of another list is refused.
        columns: Of one table; their values in a row are the cursor.
        newest_first: Descending, else ascending.
    """

    name: str
    columns: tuple[InstrumentedAttribute[Any], ...]
    newest_first: bool = True


def read_page(
    session: Session, statement: Select[*tuple[Any, ...]], order: Order, page: Page
) -> tuple[Sequence[Any], str | None]:
    """The rows of a page, and the cursor of the next; None on the last.

    The statement's first column is the entity that has the order's columns.

    Raises:
        Invalid: The cursor is none that this list gave.
    """
    if page.cursor is not None:
        statement = statement.where(_after(order, _decode(order, page.cursor)))
    statement = statement.order_by(
        *(column.desc() if order.newest_first else column.asc() for column in order.columns)
    )
    rows = session.execute(statement.limit(page.limit + 1)).all()
    if len(rows) <= page.limit:
        return rows, None
    rows = rows[: page.limit]
    last = rows[-1][0]
    return rows, _encode(order, [getattr(last, column.key) for column in order.columns])


def _after(order: Order, values: list[Any]) -> ColumnElement[bool]:
    # With the columns' types: an id is written otherwise in each database.
    last = tuple_(*values, types=[column.type for column in order.columns])
    place = tuple_(*order.columns)
    after: ColumnElement[bool] = place < last if order.newest_first else place > last
    return after


def _encode(order: Order, values: list[Any]) -> str:
    written = json.dumps([order.name, *values], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def _decode(order: Order, cursor: str) -> list[Any]:
    refusal = Invalid("cursor", cursor, "is not one of this list: begin again without a cursor")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        name, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, TypeError, RecursionError):
        raise refusal from None
    if name != order.name or len(values) != len(order.columns):
        raise refusal
    if not all(_fits(column, value) for column, value in zip(order.columns, values, strict=True)):
        raise refusal
    return list(values)


def _fits(column: InstrumentedAttribute[Any], value: object) -> bool:
    if isinstance(column.type, type(Id)):
        try:
            return isinstance(value, str) and str(UUID(value)) == value
        except ValueError:
            return False
    if column.type.python_type is int:
        return type(value) is int and 0 <= value <= LARGEST_INTEGER
    return isinstance(value, str) and "\0" not in value
