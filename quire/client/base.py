"""What every request of the client is made with."""

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from quire.client.replies import Reply
from quire.client.transport import Transport

PAGE_ITEMS = 100

R = TypeVar("R", bound=Reply)
#: Told how many bytes of how many have passed; the total is None where it is not known.
Passed = Callable[[int, int | None], None]


class Base:
    """A connection to a server; the client's parts add what it can do.

    Args:
        url: The server's address, such as ``http://127.0.0.1:8420``.
        key: An API key; the health checks work without one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._transport = Transport(url, key)
        self.url = self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.close()

    def _get(self, reply: type[R], path: str, **params: str | int | None) -> R:
        response = self._transport.request("GET", path, params=params)
        return reply.model_validate(response.json())

    def _post(self, reply: type[R], path: str, body: Mapping[str, Any] | None, **options: Any) -> R:
        response = self._transport.request("POST", path, body=body, idempotency_key=True, **options)
        return reply.model_validate(response.json())

    def _patch(self, reply: type[R], path: str, changes: Mapping[str, Any]) -> R:
        response = self._transport.request("PATCH", path, body=changes)
        return reply.model_validate(response.json())

    def _list(self, reply: type[R], path: str, **filters: str | int | None) -> Iterator[R]:
        cursor: str | None = None
        while True:
            params = {"limit": PAGE_ITEMS, "cursor": cursor, **filters}
            page = self._transport.request("GET", path, params=params).json()
            yield from map(reply.model_validate, page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return


def in_path(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")
