# Written by `make client` from quire/client/aio/routes/__init__.py: change that file.
"""One method for each operation of the server, whose replies are those of the API."""

from quire.client.sync.routes.corpora import Corpora
from quire.client.sync.routes.groups import Groups
from quire.client.sync.routes.jobs import Jobs
from quire.client.sync.routes.models import Models
from quire.client.sync.routes.notifications import Notifications
from quire.client.sync.routes.operations import Operations
from quire.client.sync.routes.server import Server
from quire.client.sync.routes.shares import Shares
from quire.client.sync.routes.users import Users


class Routes(
    Users,
    Groups,
    Corpora,
    Jobs,
    Models,
    Notifications,
    Shares,
    Operations,
    Server,
):
    """The operations of one server.

    Every method raises `ApiError` when the server refuses a request, and `ServerUnreachable`
    when it does not answer. Lists are iterators that fetch further pages as needed.
    """
