"""How many requests are worked on at once, and how many may listen beside them.

A listener holds a thread of the server for as long as it listens, and does nothing with it. So the
server has a thread for each of them too, and this keeps the number of requests that are worked on,
and the connections to the database that they need, where it was.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from api.errors import TooManyListeners

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ConcurrencyLimit:
    """Lets so many requests into an application at once; the others wait their turn.

    What is sent after the application has answered (a stream of events, a file) takes no place.

    Args:
        application: What answers.
        places: How many.
    """

    def __init__(self, application: Application, places: int) -> None:
        self._application = application
        self._places = threading.Semaphore(places)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        with self._places:
            return self._application(environ, start_response)


class Seats:
    """Where listeners sit.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.Semaphore(count)

    def take(self) -> Callable[[], None]:
        """Sit down.

        Returns:
            To be called by who leaves.

        Raises:
            TooManyListeners: All are taken.
        """
        if not self._free.acquire(blocking=False):
            raise TooManyListeners(self._count)
        return self._free.release
