"""The threads that requests run on: as many as are needed, up to a bound."""

import threading
from collections.abc import Callable
from typing import Any

from waitress.task import ThreadedTaskDispatcher


class GrowingPool(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress is not typed
    """Starts a thread when all are busy, so that an idle server has few.

    Args:
        most: How many threads there may be.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        """Start a thread with a name that tells what it is for."""
        threading.Thread(
            target=target, args=(thread_no,), name=f"http-{thread_no}", daemon=True
        ).start()

    def add_task(self, task: Any) -> None:
        """Give a task to an idle thread, to a new one, or to the one that is free next."""
        with self.lock:
            self.queue.append(task)
            running = len(self.threads) - self.stop_count
            is_short = len(self.queue) > running - self.active_count
            self.queue_cv.notify()
        if is_short and running < self._most:
            self.set_thread_count(running + 1)
