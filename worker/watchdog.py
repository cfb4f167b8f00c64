"""Ends this process when the run in it shows no more life, whatever its other threads do."""

import faulthandler
import time

STDERR = 2
#: A sign of life sets the timer anew, but not more often than this: each time starts a thread.
RENEW_SECONDS = 1.0


class Watchdog:
    """A timer that only the run itself can set back.

    The pulse renews a lease for as long as the process lives, and so would keep a job for ever
    whose step never ends. The timer is faulthandler's, a thread of C: it fires even where a
    library keeps Python's lock, writes into the log where every thread stood, and ends the
    process. The parent then starts another, and the lease of the job runs out.

    Args:
        seconds: How long a run may show no life.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._renew_seconds = min(RENEW_SECONDS, seconds / 10)
        self._set_at = 0.0
        self._watching = 0

    def watch(self) -> None:
        """Expect signs of life from a run more, until `rest` is called for it."""
        self._watching += 1
        self._set()

    def rest(self) -> None:
        """A run that was watched has ended."""
        self._watching -= 1
        if not self._watching:
            faulthandler.cancel_dump_traceback_later()

    def show_life(self) -> None:
        """Say that the run still runs: called by the run's own thread, between two steps."""
        if self._watching and time.monotonic() - self._set_at >= self._renew_seconds:
            self._set()

    def _set(self) -> None:
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=STDERR)
        self._set_at = time.monotonic()
