"""Ends this process when a run in it hangs, whatever its other threads do."""

import faulthandler
import os
import threading
import time

STDERR = 2
#: How much later the timer in C fires, which does not need Python's lock.
GRACE_SECONDS = 5.0
#: Feeding the watchdog resets that timer at most this often: each reset starts a thread.
RENEW_SECONDS = 1.0


class Watchdog:
    """A deadline that only the runs themselves can postpone.

    The heartbeat renews leases for as long as the process lives, so it would keep a job forever
    whose step never ends. At the deadline a thread logs the stacks of all threads and ends the
    process; the parent starts another one, and the job's lease expires. While a library holds
    Python's lock, that thread cannot run: a faulthandler timer, in C, then does the same a little
    later. The timer comes second because it reads the stacks of running threads, and may crash
    when one of them changes.

    Args:
        seconds: How long a run may go without feeding the watchdog.
        grace_seconds: How long after the deadline the timer in C fires.
    """

    def __init__(self, seconds: float, grace_seconds: float = GRACE_SECONDS) -> None:
        self._seconds = seconds
        self._grace_seconds = grace_seconds
        self._renew_seconds = min(RENEW_SECONDS, seconds / 10)
        self._deadline = 0.0
        self._timer_set_at = 0.0
        self._runs = 0
        self._changed = threading.Condition()
        #: Whether the thread waits for a run; else it looks again at a deadline, which only grows.
        self._is_idle = False
        self._thread: threading.Thread | None = None

    @property
    def armed(self) -> bool:
        """Whether any run is being watched."""
        return self._runs > 0

    def arm(self) -> None:
        """Watch one more run, until `disarm` is called for it."""
        with self._changed:
            self._runs += 1
            if self._runs > 1:
                # All runs share one deadline: starting another one is a sign of life.
                self.feed()
                return
            self._set(time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            if self._is_idle:
                self._changed.notify()

    def disarm(self) -> None:
        """Stop watching one run."""
        with self._changed:
            self._runs -= 1
            if not self._runs:
                faulthandler.cancel_dump_traceback_later()

    def feed(self) -> None:
        """Postpone the deadline. A run's own thread calls this between two steps."""
        now = time.monotonic()
        if self._runs and now - self._timer_set_at >= self._renew_seconds:
            self._set(now)

    def _set(self, now: float) -> None:
        self._deadline = now + self._seconds
        self._timer_set_at = now
        faulthandler.dump_traceback_later(
            self._seconds + self._grace_seconds, exit=True, file=STDERR
        )

    def _run(self) -> None:
        with self._changed:
            while True:
                seconds_left = self._deadline - time.monotonic()
                if not self._runs:
                    self._is_idle = True
                    self._changed.wait()
                    self._is_idle = False
                elif seconds_left > 0:
                    self._changed.wait(seconds_left)
                else:
                    faulthandler.dump_traceback(file=STDERR, all_threads=True)
                    os._exit(1)
