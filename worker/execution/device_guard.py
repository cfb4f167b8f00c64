"""Takes a worker's child off a device that has failed, or whose memory it would not give back."""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Engine

from shared import device_health
from shared.device_health import Quarantine
from worker.execution.outages import DATABASE_AWAY, driver_message

log = structlog.get_logger(__name__)


class DeviceGuard:
    """What a child knows of its device, and how it ends because of it.

    Args:
        engine: The database.
        host: The host's name.
        device: The device's name.
        rule: When errors quarantine the device.
        leave: Ends this process and its parent, which is started again once the device may be
            used.
        renew: Ends this process alone, which is replaced at once.
    """

    def __init__(
        self,
        engine: Engine,
        host: str,
        device: str,
        rule: Quarantine,
        leave: Callable[[], object],
        renew: Callable[[], object],
    ) -> None:
        self._engine = engine
        self._host = host
        self._device = device
        self._rule = rule
        self._leave = leave
        self._renew = renew
        self._failed = threading.Event()
        self._unrecorded: str | None = None
        self._bloated = threading.Event()

    @property
    def must_end(self) -> bool:
        """Whether this process must take no more jobs."""
        return self._failed.is_set() or self._bloated.is_set()

    def report(self, reason: str) -> None:
        """Note an error of the device: what this process computes can't be trusted any more."""
        if self._failed.is_set():
            # One error ends all runs of a batch, and counts once.
            return
        self._failed.set()
        self._unrecorded = reason
        log.error("device_failed", device=self._device, reason=reason)
        self._record()

    def report_memory(self) -> None:
        """Note that a run took the device's memory, which only its own end gives back."""
        self._bloated.set()

    def check(self) -> None:
        """Look whether another process has found the device broken. Raises as the database does."""
        self._record()
        if self._failed.is_set():
            return
        found = device_health.find_problem(self._engine, self._host, self._device)
        if found is not None:
            log.warning("device_left", device=self._device, reason=found.problem)
            self._failed.set()

    def end(self) -> None:
        """End this process, which runs no job now, if it must end."""
        if self._unrecorded is not None:
            return
        if self._failed.is_set():
            self._leave()
        elif self._bloated.is_set():
            self._renew()

    def _record(self) -> None:
        reason = self._unrecorded
        if reason is None:
            return
        try:
            quarantined = device_health.record_fault(
                self._engine, self._host, self._device, reason, self._rule
            )
        except DATABASE_AWAY as error:
            log.warning("device_error_not_recorded", reason=driver_message(error))
            return
        self._unrecorded = None
        if quarantined:
            log.error("device_quarantined", device=self._device, reason=reason)
