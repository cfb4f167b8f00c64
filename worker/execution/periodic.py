"""A thread that calls one function again and again, and survives its errors."""

import threading
from collections.abc import Callable

import structlog

from worker.execution.outages import DATABASE_AWAY, driver_message

log = structlog.get_logger(__name__)


class PeriodicThread:
    """Calls a function at a fixed interval, in a daemon thread, until it is stopped.

    No error ends the thread. It logs `periodic_task_failed` with the traceback, except while the
    database cannot be reached: then it logs `database_away` once, until a call succeeds again.

    Args:
        name: The thread's name.
        call: The function.
        interval_seconds: The pause between two calls.
        immediately: Whether the first call comes before the first pause.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[], object],
        interval_seconds: float,
        *,
        immediately: bool = False,
    ) -> None:
        self._name = name
        self._call = call
        self._interval_seconds = interval_seconds
        self._immediately = immediately
        self._database_away = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """Make no further call; with `wait`, return once the current one is over."""
        self._stopped.set()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        if self._immediately and not self._stopped.is_set():
            self._call_once()
        while not self._stopped.wait(self._interval_seconds):
            self._call_once()

    def _call_once(self) -> None:
        try:
            self._call()
            self._database_away = False
        except DATABASE_AWAY as error:
            if not self._database_away:
                log.warning("database_away", reason=driver_message(error))
            self._database_away = True
        except Exception:
            log.exception("periodic_task_failed", task=self._name)
