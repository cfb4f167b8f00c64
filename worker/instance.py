"""Takes the names of a supervisor's workers before they start, and holds them while they run."""

import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine

from shared.settings import Settings
from shared.worker_instances import NameHeld, hold_names, take_names
from shared.worker_registry import WorkerInfo, WorkerReplaced
from worker.execution.outages import DATABASE_AWAY, RETRY_SECONDS, driver_message
from worker.execution.periodic import PeriodicThread

log = structlog.get_logger(__name__)


class WorkerNames:
    """The names of one supervisor's workers, which no other instance may use meanwhile.

    Args:
        engine: The database.
        workers: The workers, all of one instance.
        settings: Give the lease and the interval of the heartbeats.
        on_lost: Called once, from another thread, when another instance has taken a name.
    """

    def __init__(
        self,
        engine: Engine,
        workers: Sequence[WorkerInfo],
        settings: Settings,
        on_lost: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._workers = workers
        self._settings = settings
        self._on_lost = on_lost
        self.lost = False
        self._thread = PeriodicThread("worker names", self._hold, settings.heartbeat_seconds)

    def take(self, stopping: Callable[[], bool]) -> bool:
        """Take all names. Wait for a holder that drains, or that may have ended without a word.

        A holder that crashed in another container leaves its row, which is silent for a lease. One
        that says something meanwhile runs, and is not waited for.

        Args:
            stopping: Whether to give up, which is asked again and again.

        Returns:
            Whether the names were taken; False means that `stopping` said so.

        Raises:
            NameHeld: Another instance runs under one of the names.
        """
        waited_for: NameHeld | None = None
        logged_away = False
        while not stopping():
            try:
                take_names(self._engine, self._workers, self._settings.lease_seconds)
            except NameHeld as held:
                if waited_for is None or waited_for.holder != held.holder:
                    log.warning(
                        "worker_name_held",
                        worker=held.worker_id,
                        last_heard_of_seconds_ago=round(held.silent_seconds, 1),
                        free_in_seconds=round(
                            self._settings.lease_seconds - held.silent_seconds, 1
                        ),
                        hint="waiting until it says something, stops, or was silent for a lease",
                    )
                    waited_for = held
                elif held.seen_at > waited_for.seen_at and not held.draining:
                    raise
            except DATABASE_AWAY as error:
                if not logged_away:
                    log.warning("database_away", reason=driver_message(error))
                logged_away = True
            else:
                return True
            time.sleep(RETRY_SECONDS)
        return False

    def hold(self) -> None:
        """Say from now on, in a thread, that the supervisor runs."""
        self._thread.start()

    def stop(self) -> None:
        """Say it no longer."""
        self._thread.stop(wait=False)

    def _hold(self) -> None:
        lost = hold_names(self._engine, self._workers)
        if lost and not self.lost:
            self.lost = True
            log.error("worker_replaced", reason=str(WorkerReplaced(", ".join(sorted(lost)))))
            self._on_lost()
