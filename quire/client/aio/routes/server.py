"""Whether the server is well."""

from http import HTTPStatus

from quire.client.aio.base import AsyncBase
from quire.client.problems import ApiError
from quire.client.replies.server import Readiness
from quire.errors import ServerUnreachable


class AsyncServer(AsyncBase):
    """The health checks, which need no key."""

    async def is_alive(self) -> bool:
        """Whether the API answers."""
        try:
            return (await self._transport.request("GET", "/health/live")).is_success
        except (ApiError, ServerUnreachable):
            return False

    async def readiness(self) -> Readiness:
        """Get whether the server can do its work, and what of it can't."""
        response = await self._transport.request(
            "GET", "/health/ready", accepted=HTTPStatus.SERVICE_UNAVAILABLE
        )
        return Readiness.model_validate(response.json())
