"""Lists that page by ``after``, the id of the last item of the page before."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

from flask import Response
from pydantic import ConfigDict, Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.errors import Invalid, NotFound
from api.http.responses import raw_json_response
from api.permissions import as_id
from api.schemas.fields import RequestPart
from api.schemas.replies import Reply

MAX_LIMIT = 1_000
Item = TypeVar("Item", bound=Reply)


class ListQuery(RequestPart):
    """Where a page begins, and how long it is."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, max_length=100)
    limit: int = Field(20, ge=1, le=MAX_LIMIT)
    order: Literal["asc", "desc"] = "desc"


class Page(Reply, Generic[Item]):
    """A page of a list. `first_id` and `last_id` are null on an empty one."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


def read_rows(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    key: InstrumentedAttribute[Any],
    query: ListQuery,
) -> tuple[Sequence[Any], bool]:
    """Return the rows of a page, and whether more follow.

    Args:
        session: The session to read in.
        statement: Selects the rows, the first column being the entity.
        key: The column that orders the list; its values are the items' ids.
        query: The page.

    Raises:
        Invalid: `after` is no id of this list.
    """
    is_descending = query.order == "desc"
    if query.after is not None:
        after = _as_key(key, query.after)
        statement = statement.where(key < after if is_descending else key > after)
    statement = statement.order_by(key.desc() if is_descending else key.asc())
    rows = session.execute(statement.limit(query.limit + 1)).all()
    return rows[: query.limit], len(rows) > query.limit


def page_of(
    items: Sequence[Any], has_more: bool, id_of: Callable[[Any], str] = lambda item: str(item.id)
) -> Response:
    """Return a page as a response."""
    ids = [id_of(item) for item in items]
    page: Page[Any] = Page(
        data=list(items),
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
        has_more=has_more,
    )
    return raw_json_response(page.model_dump(), 200)


def _as_key(key: InstrumentedAttribute[Any], after: str) -> Any:
    if key.type.python_type is int:
        if after.isascii() and after.isdigit() and len(after) <= 18:
            return int(after)
    else:
        try:
            return as_id("item", after)
        except NotFound:
            pass
    raise Invalid("after", after, "is no id of this list. Give the last_id of a page")
