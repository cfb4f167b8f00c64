"""The threads that requests run on: as many as are needed.

They need no bound of their own: slots bound the requests that run, seats those that stay. With a
bound, streams could hold all threads and wait for slots that were granted to requests without one.
"""

import threading
from collections.abc import Callable
from typing import Any

from waitress.task import ThreadedTaskDispatcher


class GrowingPool(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress is not typed
    """Starts a thread when all are busy, so that an idle server has few."""

    def __init__(self) -> None:
        super().__init__()
        self._next_number = 0

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        """Start a thread with a name that tells what it is for."""
        threading.Thread(
            target=target, args=(thread_no,), name=f"http-{thread_no}", daemon=True
        ).start()

    def add_task(self, task: Any) -> None:
        """Give a task to an idle thread, or to a new one."""
        with self.lock:
            self.queue.append(task)
            idle = len(self.threads) - self.stop_count - self.active_count
            grows = len(self.queue) > idle
            if grows:
                # Counted under the lock: streams may hold all threads there are for good, and a
                # task that two callers leave to one new thread would wait as long.
                number, self._next_number = self._next_number, self._next_number + 1
                self.threads.add(number)
                self.active_count += 1
            else:
                self.queue_cv.notify()
        if grows:
            try:
                self.start_new_thread(self.handler_thread, number)
            except RuntimeError:
                # The machine allows no more threads: the task waits for one that there is.
                with self.lock:
                    self.threads.discard(number)
                    self.active_count -= 1
                    self.queue_cv.notify()
