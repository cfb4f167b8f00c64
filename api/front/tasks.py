"""What runs on threads: the application, and the look at a head whose body is not there yet."""

from typing import Any

from waitress.task import WSGITask

from api.front.parser import RequestParser
from api.front.slots import Slot

#: The slot of a request, in its environment.
SLOT = "quire.slot"
#: There, too: takes a function to be called, on the event loop, when the connection closes.
ON_CLOSE = "quire.on_close"


class ApplicationTask(WSGITask):  # type: ignore[misc]  # waitress is not typed
    """Runs the application for one whole request."""

    def execute(self) -> None:
        """Answer. Only an answer that comes in pieces makes its thread wait for the reader."""
        self.channel.begin_response()
        environ = self.get_environment()
        environ[SLOT] = self.channel.slot
        environ[ON_CLOSE] = self.channel.on_close.append
        super().execute()

    def write(self, data: bytes) -> None:
        """Send a piece of the body; the head goes out in one packet with the first one."""
        if self.wrote_header:
            super().write(data)
        else:
            with self.channel.corked():
                super().write(data)


class HeadCheck:
    """Looks at the head of a request whose body has not arrived yet."""

    slot: Slot

    def __init__(self, connection: Any, request: RequestParser) -> None:
        self._connection = connection
        self._request = request
        self.sender = connection.sender_of(request)

    def service(self) -> None:
        """Ask the policy, and read on or refuse."""
        admitted = False
        try:
            environ = WSGITask(self._connection, self._request).get_environment()
            admitted = self._connection.server.policy.admits(environ)
        finally:
            self.slot.release()
            self._connection.head_checked(self._request, admitted)

    def cancel(self) -> None:
        """Do nothing: the server stops, closes all connections, and holds the pool's lock."""
