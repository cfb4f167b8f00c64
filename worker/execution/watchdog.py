"""Ends this process when the run in it shows no more life, whatever its other threads do."""

import faulthandler
import os
import threading
import time

STDERR = 2
#: How much later the timer in C fires, which needs no lock of Python's.
GRACE_SECONDS = 5.0
#: A sign of life sets that timer anew, but not more often than this: each time starts a thread.
RENEW_SECONDS = 1.0


class Watchdog:
    """A deadline that only the run itself can put off.

    The heartbeat renews a lease for as long as the process lives, and so would keep a job for ever
    whose step never ends. At the deadline a thread writes into the log where every other one
    stands, and ends the process; the parent then starts another, and the lease of the job runs
    out. Where a library keeps Python's lock that thread can't run: a timer of faulthandler's,
    in C, then does the same a little later. It comes second because it reads the stacks of
    threads that run on, and may crash over one that changes under its eyes.

    Args:
        seconds: How long a run may show no life.
        grace_seconds: How long after the deadline the timer in C fires.
    """

    def __init__(self, seconds: float, grace_seconds: float = GRACE_SECONDS) -> None:
        self._seconds = seconds
        self._grace_seconds = grace_seconds
        self._renew_seconds = min(RENEW_SECONDS, seconds / 10)
        self._deadline = 0.0
        self._timer_set_at = 0.0
        self._watching = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """Expect signs of life from a run more, until `rest` is called for it."""
        with self._changed:
            self._watching += 1
            if self._watching > 1:
                # One deadline is for all: who begins beside others shows life.
                self.show_life()
                return
            self._set(time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()

    def rest(self) -> None:
        """A run that was watched has ended."""
        with self._changed:
            self._watching -= 1
            if not self._watching:
                faulthandler.cancel_dump_traceback_later()
                self._changed.notify()

    def show_life(self) -> None:
        """Say that the run still runs: called by the run's own thread, between two steps."""
        now = time.monotonic()
        if self._watching and now - self._timer_set_at >= self._renew_seconds:
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
                left_seconds = self._deadline - time.monotonic()
                if not self._watching:
                    self._changed.wait()
                elif left_seconds > 0:
                    self._changed.wait(left_seconds)
                else:
                    faulthandler.dump_traceback(file=STDERR, all_threads=True)
                    os._exit(1)
