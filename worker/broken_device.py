"""A lane whose device can't be used: how that is recorded, and how the lane waits."""

import threading

import structlog
from sqlalchemy import Engine

from shared import device_health
from shared.database import make_engine
from shared.settings import Settings
from shared.worker_registry import WorkerInfo, WorkerReplaced, heartbeat, register
from worker.execution.outages import DATABASE_AWAY, RETRY_SECONDS, driver_message
from worker.lane import Lane

log = structlog.get_logger(__name__)


def record_if_broken(error: BaseException, lane: Lane, settings: Settings) -> bool:
    """Record why a lane could not start, if that is its device's fault.

    Returns:
        Whether it is.
    """
    from worker.execution.device_errors import describe, is_device_error, is_out_of_memory
    from worker.ml.probe import DeviceBroken

    on_gpu = lane.gpu_uuid is not None
    if isinstance(error, DeviceBroken):
        reason = str(error)
    elif is_device_error(error) or (on_gpu and is_out_of_memory(error)):
        reason = describe(error)
    else:
        return False
    log.error("device_broken", device=lane.device, reason=reason)
    try:
        engine = make_engine(settings.database)
        device_health.record_broken(engine, lane.host, lane.device, reason)
    except DATABASE_AWAY as away:
        # The supervisor's own pauses stay, and the next start finds the same.
        log.warning("device_error_not_recorded", reason=driver_message(away))
    return True


def wait_for_device(
    engine: Engine, lane: Lane, worker: WorkerInfo, settings: Settings, stopping: threading.Event
) -> None:
    """Wait while the lane's device has a problem and is not to be probed yet.

    Meanwhile the worker is registered as not ready, and sends heartbeats.
    """
    registered = False
    while not stopping.is_set():
        try:
            found = device_health.find_problem(engine, lane.host, lane.device)
            if found is None or found.seconds_left <= 0:
                return
            if not registered:
                log.warning(
                    "device_waits",
                    device=lane.device,
                    reason=found.problem,
                    quarantined=found.quarantined,
                    seconds=round(found.seconds_left, 1),
                )
                register(engine, worker, ready=False)
                registered = True
            heartbeat(engine, worker.id, instance_id=worker.instance_id)
        except WorkerReplaced as error:
            log.error("worker_replaced", worker=worker.id, reason=str(error))
            return
        except DATABASE_AWAY as error:
            log.warning("database_away", reason=driver_message(error))
        stopping.wait(min(RETRY_SECONDS, settings.heartbeat_seconds))
