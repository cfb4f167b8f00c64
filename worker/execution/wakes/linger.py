"""What an idle child does before Celery has it back: it waits for the next wake by itself.

The way of a wake through Celery's parent process to its child costs as much as a short text. A
child that has just run jobs therefore stays on the lane's list for some seconds. Its parent takes
no wake meanwhile, and the child holds no lease.
"""

import time
from collections.abc import Callable

import redis
import structlog

from worker.execution.outages import DATABASE_AWAY, driver_message

#: How long a child stays after its last job.
LINGER_SECONDS = 5.0
#: How often it looks for a drain, and for jobs whose wake was lost.
LOOK_SECONDS = 0.5
#: Logged in place of a wake's id.
NO_WAKE = "none"

log = structlog.get_logger(__name__)


class Linger:
    """Runs jobs for as long as they come one soon after the other.

    Args:
        take_wake: Waits for a wake for a number of seconds and returns its id, or None.
        any_runnable: Whether a job can be claimed.
        is_draining: Whether the worker is asked to stop.
    """

    def __init__(
        self,
        take_wake: Callable[[float], str | None],
        any_runnable: Callable[[], bool],
        is_draining: Callable[[], bool],
    ) -> None:
        self._take_wake = take_wake
        self._any_runnable = any_runnable
        self._is_draining = is_draining

    def run(self, run_all: Callable[[str], int]) -> int:
        """Run jobs until none has come for `LINGER_SECONDS`, or the worker is to stop.

        Args:
            run_all: Runs all jobs, given a wake's id, and returns how many it ran.

        Returns:
            How many jobs were run.
        """
        count, deadline = 0, time.monotonic() + LINGER_SECONDS
        try:
            while not self._is_draining() and time.monotonic() < deadline:
                wake = self._take_wake(LOOK_SECONDS)
                if wake is None and not self._any_runnable():
                    continue
                ran = run_all(wake or NO_WAKE)
                if ran:
                    # Not after a wake for nothing: jobs that a cap stops would keep the child.
                    count, deadline = count + ran, time.monotonic() + LINGER_SECONDS
        except redis.RedisError as error:
            log.warning("lingering_ended", reason=str(error))
        except DATABASE_AWAY as error:
            log.warning("lingering_ended", reason=driver_message(error))
        return count
