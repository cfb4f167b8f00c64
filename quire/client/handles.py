"""Replies that can do something: the fields of a reply, and the server that it came from."""

from typing import Any, TypeVar, cast

from quire.client.replies import Reply

H = TypeVar("H", bound=Reply)


def with_fields_of(handle: type[H], reply: Reply) -> H:
    """Return a handle with the fields of a reply, which were checked when it came."""
    made = handle.model_construct(_fields_set=set(reply.model_fields_set), **dict(reply))
    return cast("H", made)


def take_fields(handle: Reply, reply: Reply) -> None:
    """Give a handle the fields of a newer reply. Nobody else may change what a server said."""
    newer: dict[str, Any] = dict(reply.__dict__)
    handle.__dict__.update(newer)
    object.__setattr__(handle, "__pydantic_extra__", dict(reply.model_extra or {}))
    object.__setattr__(handle, "__pydantic_fields_set__", set(reply.model_fields_set))
