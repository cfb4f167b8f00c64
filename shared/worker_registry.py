"""The registry of workers: one row per host, device, lane and slot."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, delete, func, select, update

from shared.clock import Clock, database_now
from shared.tables import Device, Kind, UtcDateTime
from shared.upsert import insert_if_absent, insert_or_replace

#: Counts the workers that take jobs. Built once, since every heartbeat of a training may run it.
_READY = (
    select(func.count())
    .select_from(Device)
    .where(
        Device.lane == bindparam("lane"),
        Device.ready_at.is_not(None),
        Device.drain_requested_at.is_(None),
        Device.heartbeat_at > bindparam("fresh", type_=UtcDateTime),
    )
)
_IDLE = _READY.where(Device.current_job_id.is_(None))
#: And how many devices their slots are together.
_READY_DEVICES = _READY.add_columns(func.sum(1.0 / Device.slots))


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker registers of itself."""

    host: str
    device: str
    lane: Kind
    pid: int
    versions: dict[str, Any]
    gpu_uuid: str | None = None
    gpu_name: str | None = None
    #: The part of the GPU's memory that the worker may use.
    gpu_memory_bytes: int | None = None
    #: Which of its lane's `slots` on the device it is, from 0.
    slot: int = 0
    slots: int = 1
    #: The start of the worker that may use the row; see shared/worker_instances.py.
    instance_id: str | None = None

    @property
    def id(self) -> str:
        """The primary key of its row, which `jobs.worker_id` refers to."""
        return worker_id(self.host, self.device, self.lane, self.slot)


def worker_id(host: str, device: str, lane: str, slot: int = 0) -> str:
    """Join ``host/device/lane``, or ``host/device/lane:slot`` for another slot than the first."""
    return f"{host}/{device}/{lane_name(lane, slot)}"


def lane_name(lane: str, slot: int) -> str:
    """The lane of a slot: ``train`` of the first, which a device always has; ``train:1``, …."""
    return f"{lane}:{slot}" if slot else lane


class WorkerReplaced(Exception):
    """Another worker has taken this one's name, and its row."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(
            f"another worker has taken the name {worker_id}: give each host a name of its own "
            "(--host-name or QUIRE_HOST_NAME)"
        )


def register(
    engine: Engine, worker: WorkerInfo, *, ready: bool, clock: Clock = database_now
) -> None:
    """Insert or replace a worker's row: when it starts, and when its child is ready.

    Raises:
        WorkerReplaced: The row is another instance's.
    """
    with engine.begin() as connection:
        values = row_values(worker, clock(connection), ready=ready)
        if insert_if_absent(connection, Device, values):
            return
        held_by = connection.execute(
            select(Device.instance_id).where(Device.id == worker.id).with_for_update()
        ).one_or_none()
        if held_by is not None and held_by.instance_id != worker.instance_id:
            raise WorkerReplaced(worker.id)
        insert_or_replace(connection, Device, values)


def row_values(worker: WorkerInfo, now: datetime, *, ready: bool) -> dict[str, Any]:
    """The columns of a worker that starts."""
    return {
        "id": worker.id,
        "host": worker.host,
        "device": worker.device,
        "lane": worker.lane,
        "slot": worker.slot,
        "slots": worker.slots,
        "gpu_uuid": worker.gpu_uuid,
        "gpu_name": worker.gpu_name,
        "gpu_memory_bytes": worker.gpu_memory_bytes,
        "pid": worker.pid,
        "versions": worker.versions,
        "started_at": now,
        "heartbeat_at": now,
        "ready_at": now if ready else None,
        "drain_requested_at": None,
        "current_job_id": None,
        "instance_id": worker.instance_id,
    }


def unregister(engine: Engine, worker_id: str, *, instance_id: str | None = None) -> None:
    """Delete the row of a worker that has shut down in order, unless it is another instance's."""
    with engine.begin() as connection:
        connection.execute(delete(Device).where(*row_of(worker_id, instance_id)))


def heartbeat(
    engine: Engine,
    worker_id: str,
    clock: Clock = database_now,
    *,
    instance_id: str | None = None,
) -> bool:
    """Renew the heartbeat of an idle worker.

    Returns:
        Whether the worker is asked to drain.
    """
    with engine.begin() as connection:
        drain_requested_at = connection.execute(
            update(Device)
            .where(*row_of(worker_id, instance_id))
            .values(heartbeat_at=clock(connection))
            .returning(Device.drain_requested_at)
        ).scalar()
    return drain_requested_at is not None


def request_drain(
    engine: Engine,
    worker_id: str,
    clock: Clock = database_now,
    *,
    instance_id: str | None = None,
) -> None:
    """Ask a worker to release its job and stop, unless the row is another instance's."""
    with engine.begin() as connection:
        connection.execute(
            update(Device)
            .where(*row_of(worker_id, instance_id))
            .values(drain_requested_at=clock(connection))
        )


def row_of(worker_id: str, instance_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """The condition for the row of a worker, while the instance holds it."""
    return Device.id == worker_id, Device.instance_id.is_not_distinct_from(instance_id)


def is_alive(device: Device, now: datetime, lease_seconds: float) -> bool:
    """Whether a worker's last heartbeat is younger than a lease."""
    return now - device.heartbeat_at < timedelta(seconds=lease_seconds)


def count_ready(
    connection: Connection, lane: Kind, now: datetime, lease_seconds: float, *, idle: bool = False
) -> int:
    """Count the workers of a lane that take jobs; with `idle`, only those that run none."""
    return connection.scalar(_IDLE if idle else _READY, _fresh(lane, now, lease_seconds)) or 0


def mean_slots(connection: Connection, lane: Kind, now: datetime, lease_seconds: float) -> float:
    """Into how many slots a lane's devices are divided: the ready workers per device; 1 without."""
    values = _fresh(lane, now, lease_seconds)
    workers, devices = connection.execute(_READY_DEVICES, values).one()
    return float(workers / devices) if workers else 1.0


def _fresh(lane: Kind, now: datetime, lease_seconds: float) -> dict[str, Any]:
    return {"lane": lane, "fresh": now - timedelta(seconds=lease_seconds)}


def ready_workers(engine: Engine, worker_ids: set[str]) -> set[str]:
    """Return those of the given workers whose child is ready for a job."""
    with engine.connect() as connection:
        return set(
            connection.scalars(
                select(Device.id).where(Device.id.in_(worker_ids), Device.ready_at.is_not(None))
            )
        )
