"""The building blocks of replies."""

from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from shared.texts.findings import RefusalCode


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
    code: str | None = Field(
        None,
        description="why a text is refused, by a name that never changes: "
        f"{', '.join(get_args(RefusalCode))}. Null for problems that no text has",
    )
    ways: list[str] = Field(
        [], description="what can be done about the text, each as one sentence of `detail`"
    )
