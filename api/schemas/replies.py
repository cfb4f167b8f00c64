"""What every answer is made of."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class Reply(BaseModel):
    """The base of every answer."""

    model_config = ConfigDict(frozen=True)


Item = TypeVar("Item", bound=Reply)


class Listing(Reply, Generic[Item]):
    """A page of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None


class FieldError(Reply):
    """One field that was refused."""

    field: str
    value: Any = None
    message: str


class Problem(Reply):
    """RFC 9457: what went wrong, and the way out."""

    type: str
    title: str
    status: int | None = None
    detail: str
    errors: list[FieldError] = []
