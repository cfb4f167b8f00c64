"""One method for each operation of the server, whose replies are those of the API."""

from quire.client.aio.routes.corpora import AsyncCorpora
from quire.client.aio.routes.groups import AsyncGroups
from quire.client.aio.routes.jobs import AsyncJobs
from quire.client.aio.routes.models import AsyncModels
from quire.client.aio.routes.notifications import AsyncNotifications
from quire.client.aio.routes.operations import AsyncOperations
from quire.client.aio.routes.server import AsyncServer
from quire.client.aio.routes.shares import AsyncShares
from quire.client.aio.routes.users import AsyncUsers


class AsyncRoutes(
    AsyncUsers,
    AsyncGroups,
    AsyncCorpora,
    AsyncJobs,
    AsyncModels,
    AsyncNotifications,
    AsyncShares,
    AsyncOperations,
    AsyncServer,
):
    """The operations of one server.

    Every method raises `ApiError` when the server refuses a request, and `ServerUnreachable`
    when it does not answer. Lists are iterators that fetch further pages as needed.
    """
