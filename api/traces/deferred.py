"""A call that is made once, some time after it was first asked for."""

import threading
from collections.abc import Callable


class Deferred:
    """Calls a function on a thread of its own, `seconds` after the first of many requests.

    No thread waits while nothing is asked for.

    Args:
        call: The function, which must not raise.
        seconds: The delay.
    """

    def __init__(self, call: Callable[[], None], seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._timer: threading.Timer | None = None
        self._closed = False
        self._lock = threading.Lock()

    def schedule(self) -> None:
        """Ask for the call. It is made even if more requests follow."""
        with self._lock:
            if self._timer is not None or self._closed:
                return
            self._timer = threading.Timer(self._seconds, self._run)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """Make a call that waits now, and none after it."""
        with self._lock:
            timer, self._timer, self._closed = self._timer, None, True
        if timer is not None:
            timer.cancel()
            self._call()

    def _run(self) -> None:
        with self._lock:
            self._timer = None
        self._call()
