"""The HTTP client: one method for each operation of the server."""

from quire.client.base import ProgressCallback
from quire.client.corpora import Corpora
from quire.client.groups import Groups
from quire.client.jobs import Jobs
from quire.client.models import Models
from quire.client.shares import Shares
from quire.client.transport import ApiError
from quire.client.users import Users

__all__ = ["ApiError", "Client", "ProgressCallback"]


class Client(Users, Groups, Corpora, Jobs, Models, Shares):
    """A client of one Quire server.

    Every method raises `ApiError` when the server refuses a request, and `ServerUnreachable`
    when it does not answer. Lists are iterators that fetch further pages as needed.
    """

    def is_alive(self) -> bool:
        """Whether the API answers."""
        return self._transport.request("GET", "/health/live").is_success
