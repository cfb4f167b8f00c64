"""A call that is made once, some time after it was first asked for."""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Deferred:
    """Calls a function on a thread of its own, `seconds` after the first of many requests.

    No thread waits while nothing is asked for.

    Args:
        call: The function. What it raises is logged.
        seconds: The delay.
    """

    def __init__(self, call: Callable[[], object], seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._waiting: threading.Timer | None = None
        #: Those that wait or call.
        self._timers: list[threading.Timer] = []
        self._closed = False
        self._lock = threading.Lock()

    def schedule(self) -> None:
        """Ask for the call. It is made even if more requests follow."""
        with self._lock:
            if self._waiting is not None or self._closed:
                return
            self._waiting = threading.Timer(self._seconds, self._run)
            self._waiting.daemon = True
            self._timers = [timer for timer in self._timers if timer.is_alive()]
            self._timers.append(self._waiting)
            self._waiting.start()

    def cancel(self) -> None:
        """Forget a call that waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def close(self) -> None:
        """Make a call that waits now, and none after it; wait for one that is being made."""
        with self._lock:
            self._closed = True
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            timer.join()
        # A timer that was too late to be cancelled has made its call.
        if self._waiting is not None:
            self._waiting = None
            self._make_call()

    def _run(self) -> None:
        with self._lock:
            self._waiting = None
        self._make_call()

    def _make_call(self) -> None:
        try:
            self._call()
        except Exception:
            log.exception("periodic_task_failed", task=self._call.__qualname__)
