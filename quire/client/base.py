"""The base of the client: its connection, and requests whose replies are models."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote

from quire.client.replies import Reply
from quire.client.transport import Transport

PAGE_ITEMS = 100

R = TypeVar("R", bound=Reply)
#: Called with the bytes transferred so far and the total; the total is None where it is unknown.
ProgressCallback = Callable[[int, int | None], None]


class ClientBase:
    """A connection to a server; subclasses add the operations.

    Args:
        url: The server's address, such as ``http://127.0.0.1:8420``.
        key: An API key. The health checks work without one.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._transport = Transport(url, key)
        self.url = self._transport.url

    def close(self) -> None:
        """Close the connections; leaving a ``with`` block does the same."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

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


def quote_segment(name: str) -> str:
    """Quote a name for use as one segment of a path."""
    return quote(name, safe="")
