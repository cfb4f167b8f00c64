"""The building blocks of replies."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class Reply(BaseModel):
    """The base of every reply."""

    model_config = ConfigDict(frozen=True)


Item = TypeVar("Item", bound=Reply)


class Listing(Reply, Generic[Item]):
    """A page of a list. `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None


class FieldError(Reply):
    """An error in one field."""

    field: str
    value: Any = None
    message: str


class Problem(Reply):
    """A problem (RFC 9457): what went wrong and how to fix it."""

    type: str
    title: str
    status: int | None = None
    detail: str
    errors: list[FieldError] = []
