"""The base of the client: its connection, and requests whose replies are models."""

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

from quire.client.aio.transport import READ_SECONDS, AsyncTransport
from quire.client.login import ca_of_environment, login_of_environment
from quire.client.replies import Reply

PAGE_ITEMS = 100

R = TypeVar("R", bound=Reply)


class AsyncBase:
    """A connection to a server; subclasses add the operations.

    Args:
        url: The server's address, such as ``http://127.0.0.1:8420``; by default QUIRE_URL's, or
            that of the saved login.
        key: An API key; by default that of QUIRE_KEY or QUIRE_API_KEY, or of the saved login.
        timeout: How many seconds to wait for an answer. Uploads and waits have longer ones.
        verify: Whether the server's certificate is checked; or a PEM file of authorities to trust
            beside the machine's, by default QUIRE_CA's; or a context.

    Raises:
        NotLoggedIn: There is no server, or no key for it.
        InvalidInput: An argument, or what the environment says, can't be used.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = READ_SECONDS,
        verify: bool | str | Path | ssl.SSLContext | None = None,
    ) -> None:
        if url is None or key is None:
            login = login_of_environment(url, key)
            url, key = login.url, login.key
        self._connect(url, key, timeout, verify)

    @classmethod
    def anonymous(
        cls,
        url: str,
        *,
        timeout: float = READ_SECONDS,
        verify: bool | str | Path | ssl.SSLContext | None = None,
    ) -> Self:
        """Return a client without a key: for the health checks, and to redeem a one-time link."""
        client = cls.__new__(cls)
        client._connect(url, None, timeout, verify)
        return client

    def _connect(
        self,
        url: str,
        key: str | None,
        timeout: float,
        verify: bool | str | Path | ssl.SSLContext | None,
    ) -> None:
        if verify is None:
            verify = ca_of_environment() or True
        self._transport = AsyncTransport(url, key, timeout, verify)
        self.url = self._transport.url

    async def close(self) -> None:
        """Close the connections; leaving a ``with`` block does the same."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"

    async def _get(self, reply: type[R], path: str, **params: str | int | None) -> R:
        response = await self._transport.request("GET", path, params=params)
        return reply.model_validate(response.json())

    async def _post(
        self, reply: type[R], path: str, body: Mapping[str, Any] | None, **options: Any
    ) -> R:
        response = await self._transport.request(
            "POST", path, body=body, idempotency_key=True, **options
        )
        return reply.model_validate(response.json())

    async def _patch(self, reply: type[R], path: str, changes: Mapping[str, Any]) -> R:
        response = await self._transport.request("PATCH", path, body=changes)
        return reply.model_validate(response.json())

    async def _list(
        self, reply: type[R], path: str, **filters: str | int | None
    ) -> AsyncIterator[R]:
        cursor: str | None = None
        while True:
            params = {"limit": PAGE_ITEMS, "cursor": cursor, **filters}
            page = (await self._transport.request("GET", path, params=params)).json()
            for item in page["items"]:
                yield reply.model_validate(item)
            cursor = page.get("next_cursor")
            if not cursor:
                return


def quote_segment(name: str) -> str:
    """Quote a name for use as one segment of a path."""
    return quote(name, safe="")
