"""What a thread sleeps on until another one wakes it."""

import threading


class Wakeup:
    """Lets one thread sleep, and others wake it; a wake that comes before the sleep is kept.

    It is a lock: an event takes three times as long. Wakes don't add up.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        """Sleep until woken, or until the time is over; return whether it was woken."""
        return self._lock.acquire(timeout=max(0.0, seconds))

    def wake(self) -> None:
        """End the present sleep, or the next one."""
        try:  # noqa: SIM105  # `suppress` would take longer than the wake
            self._lock.release()
        except RuntimeError:
            pass  # It was woken already.
