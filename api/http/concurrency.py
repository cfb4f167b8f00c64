"""Limit how many requests the application handles at once.

An event stream holds a server thread for as long as it is open and hardly uses it. The server
therefore has one more thread for each stream, and this limit keeps the number of requests in the
application, and the database connections that they need, at `api_threads`.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ConcurrencyLimit:
    """WSGI middleware that lets a limited number of requests in at once; the others wait.

    A response body that is sent later (an event stream, a file) does not count.

    Args:
        application: The WSGI application.
        slots: One for each request that may be in the application. A handler that only waits
            gives its slot back meanwhile; see api/http/prefer_wait.py.
    """

    def __init__(self, application: Application, slots: threading.Semaphore) -> None:
        self._application = application
        self._slots = slots

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Handle one request once a slot is free."""
        with self._slots:
            return self._application(environ, start_response)
