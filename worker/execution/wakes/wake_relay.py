"""Wakes for the jobs that a worker leaves to others."""

from collections.abc import Callable

from worker.execution.outages import DATABASE_AWAY


class WakeRelay:
    """Passes a wake on where this worker has taken it and leaves runnable jobs behind.

    Without it these jobs would wait for maintenance, which finds them some seconds later.

    Args:
        any_runnable: Whether a job can be claimed.
        send: Sends a wake, given an id for it.
    """

    def __init__(self, any_runnable: Callable[[], bool], send: Callable[[str], object]) -> None:
        self._any_runnable = any_runnable
        self._send = send
        self._has_left = False

    def pass_on(self, wake: str) -> None:
        """Wake another worker if a job is runnable. Call it after a claim that found some."""
        try:
            if self._any_runnable():
                self._send(wake)
        except DATABASE_AWAY:
            return  # The next claim logs it, and maintenance sends the wakes that are missing.

    def leave(self, wake: str) -> None:
        """Wake another worker if a job is runnable, before this one stops.

        Only once: a worker that has lost its name to another claims nothing, but still takes
        wakes, and would pass the same one on for ever.
        """
        if not self._has_left:
            self._has_left = True
            self.pass_on(wake)
