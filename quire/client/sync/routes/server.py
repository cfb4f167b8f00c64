# Written by `make client` from quire/client/aio/routes/server.py: change that file.
"""Whether the server is well."""

from http import HTTPStatus

from quire.client.problems import ApiError
from quire.client.replies.server import Readiness
from quire.client.sync.base import Base
from quire.errors import ServerUnreachable


class Server(Base):
    """The health checks, which need no key."""

    def is_alive(self) -> bool:
        """Whether the API answers."""
        try:
            return (self._transport.request("GET", "/health/live")).is_success
        except (ApiError, ServerUnreachable):
            return False

    def readiness(self) -> Readiness:
        """Get whether the server can do its work, and what of it can't."""
        response = self._transport.request(
            "GET", "/health/ready", accepted=HTTPStatus.SERVICE_UNAVAILABLE
        )
        return Readiness.model_validate(response.json())
