"""Workers as they show themselves: one row per host, device and lane."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, select, update

from shared.clock import Clock, database_now
from shared.tables import Device, Kind, UtcDateTime
from shared.upsert import insert_or_replace

#: Workers that take jobs: built once, since each heartbeat of a training may ask.
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


@dataclass(frozen=True, slots=True)
class WorkerSelf:
    """What a worker says of itself."""

    host: str
    device: str
    lane: Kind
    pid: int
    versions: dict[str, Any]
    gpu_uuid: str | None = None
    gpu_name: str | None = None

    @property
    def id(self) -> str:
        """The row's key, and what `jobs.worker_id` names."""
        return worker_id(self.host, self.device, self.lane)


def worker_id(host: str, device: str, lane: str) -> str:
    """``host/device/lane``."""
    return f"{host}/{device}/{lane}"


def show(engine: Engine, worker: WorkerSelf, *, ready: bool, clock: Clock = database_now) -> None:
    """Write a worker's row anew, as it starts and when its child is ready."""
    with engine.begin() as connection:
        now = clock(connection)
        values = {
            "id": worker.id,
            "host": worker.host,
            "device": worker.device,
            "lane": worker.lane,
            "gpu_uuid": worker.gpu_uuid,
            "gpu_name": worker.gpu_name,
            "pid": worker.pid,
            "versions": worker.versions,
            "started_at": now,
            "heartbeat_at": now,
            "ready_at": now if ready else None,
            "drain_requested_at": None,
            "current_job_id": None,
        }
        insert_or_replace(connection, Device, values)


def remove(engine: Engine, worker_id: str) -> None:
    """Take a worker out of the list, once it has stopped in order."""
    with engine.begin() as connection:
        connection.execute(delete(Device).where(Device.id == worker_id))


def beat(engine: Engine, worker_id: str, clock: Clock = database_now) -> bool:
    """Say that an idle worker lives.

    Returns:
        Whether it is asked to drain.
    """
    with engine.begin() as connection:
        asked = connection.execute(
            update(Device)
            .where(Device.id == worker_id)
            .values(heartbeat_at=clock(connection))
            .returning(Device.drain_requested_at)
        ).scalar()
    return asked is not None


def request_drain(engine: Engine, worker_id: str, clock: Clock = database_now) -> None:
    """Ask a worker to give its job back and stop."""
    with engine.begin() as connection:
        connection.execute(
            update(Device)
            .where(Device.id == worker_id)
            .values(drain_requested_at=clock(connection))
        )


def alive(device: Device, now: datetime, lease_seconds: float) -> bool:
    """Whether a worker has been heard of within a lease."""
    return now - device.heartbeat_at < timedelta(seconds=lease_seconds)


def count_ready(
    connection: Connection, lane: Kind, now: datetime, lease_seconds: float, *, idle: bool = False
) -> int:
    """How many workers of a lane take jobs; with `idle`, only those that run none."""
    values = {"lane": lane, "fresh": now - timedelta(seconds=lease_seconds)}
    return connection.scalar(_IDLE if idle else _READY, values) or 0


def ready(engine: Engine, worker_ids: set[str]) -> set[str]:
    """Those of the named workers whose child is ready for a job."""
    with engine.connect() as connection:
        return set(
            connection.scalars(
                select(Device.id).where(Device.id.in_(worker_ids), Device.ready_at.is_not(None))
            )
        )
