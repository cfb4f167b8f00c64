"""The supervisor's watch over its GPUs: it shows lost ones, and hears what the driver reports."""

import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from shared import device_health
from shared.settings import Settings
from shared.worker_registry import heartbeat
from worker.devices import LocalDevice
from worker.execution.outages import DATABASE_AWAY, driver_message
from worker.gpu.inventory import Gpu, find_gpus
from worker.gpu.xid import XidWatch
from worker.lane import Lane, quarantine_rule

#: How often lost GPUs are looked for.
LOOK_SECONDS = 30.0

log = structlog.get_logger(__name__)


class GpuWatch:
    """Watches a host's GPUs from the supervisor, which loads no CUDA and so can't be hurt by one.

    Args:
        engine: The database.
        settings: The settings.
        lanes: All lanes of the host, with their devices.
        look_seconds: How often lost GPUs are looked for.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        lanes: Sequence[tuple[LocalDevice, Lane]],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._look_seconds = look_seconds
        self._lost = [(device, lane) for device, lane in lanes if device.problem is not None]
        # Each device once, however many lanes it has.
        gpus = {device.name: device.gpu for device, _ in lanes if device.gpu is not None}
        usable = [gpu for gpu in gpus.values() if gpu.problem is None]
        self._xids = XidWatch(usable, self._on_xid)
        self._looked_at = time.monotonic()
        self._renewed_at = 0.0

    def start(self) -> None:
        """Show the lost GPUs, and start to listen to the driver."""
        for device in {device.name: device for device, _ in self._lost}.values():
            self._record_broken(device.name, device.problem or "")
        self._xids.start()

    def stop(self) -> None:
        """Listen no longer."""
        self._xids.stop()

    def found_again(self) -> list[tuple[LocalDevice, Lane]]:
        """The lanes whose GPUs were lost and are back. Call it often; it looks now and then."""
        self._renew()
        if not self._lost or time.monotonic() - self._looked_at < self._look_seconds:
            return []
        self._looked_at = time.monotonic()
        usable = {gpu.device: gpu for gpu in find_gpus().gpus if gpu.problem is None}
        back = [
            (LocalDevice(device.name, gpu=usable[device.name]), lane)
            for device, lane in self._lost
            if device.name in usable
        ]
        self._lost = [entry for entry in self._lost if entry[0].name not in usable]
        for name in sorted({device.name for device, _ in back}):
            log.info("gpu_found_again", device=name)
            # The lanes start at once, and probe it.
            device_health.free(self._engine, self._settings.host_name, name)
        return [
            # As many slots as it had: their names were taken at the start.
            (
                device,
                Lane.of(lane.host, lane.kind, device, lane.instance_id, lane.slot, lane.slots),
            )
            for device, lane in back
        ]

    def _renew(self) -> None:
        """Send the heartbeats of the workers that can't run."""
        now = time.monotonic()
        if not self._lost or now - self._renewed_at < self._settings.heartbeat_seconds:
            return
        self._renewed_at = now
        try:
            for _, lane in self._lost:
                heartbeat(self._engine, lane.worker_id, instance_id=lane.instance_id)
        except DATABASE_AWAY as error:
            log.warning("database_away", reason=driver_message(error))

    def _record_broken(self, device: str, problem: str) -> None:
        log.error("device_broken", device=device, reason=problem)
        try:
            device_health.record_broken(self._engine, self._settings.host_name, device, problem)
        except DATABASE_AWAY as error:
            log.warning("device_error_not_recorded", reason=driver_message(error))

    def _on_xid(self, gpu: Gpu, what: str) -> None:
        log.error("device_quarantined", device=gpu.device, reason=what)
        try:
            device_health.record_fault(
                self._engine,
                self._settings.host_name,
                gpu.device,
                f"the driver reports {what}",
                quarantine_rule(self._settings, of_gpu=True),
                at_once=True,
            )
        except DATABASE_AWAY as error:
            log.warning("device_error_not_recorded", reason=driver_message(error))
