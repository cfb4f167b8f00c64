"""The HTTP client: one method for each thing that the server can do."""

from quire.client.base import Passed
from quire.client.corpora import Corpora
from quire.client.jobs import Jobs
from quire.client.models import Models
from quire.client.people import People
from quire.client.transport import ApiError

__all__ = ["ApiError", "Client", "Passed"]


class Client(People, Corpora, Jobs, Models):
    """A Quire server.

    Every method raises `ApiError` when the server refuses, and `ServerUnreachable`
    when it does not answer. Lists are read page by page, as they are needed.
    """

    def is_alive(self) -> bool:
        """Whether the API answers."""
        return self._transport.request("GET", "/health/live").is_success
