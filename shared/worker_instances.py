"""Which start of a worker holds a name: a random number in the row, which fences all its writes.

Two workers under one name (a copied `.env`, `--scale worker=2`) would drain, remove and overwrite
each other's rows. So the supervisor takes its names before it starts a lane, and says while it runs
that it holds them. A later one takes a name only from an instance that has ended.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection, Engine, select, update

from shared.clock import Clock, database_now
from shared.process.identity import has_surely_ended, own_identity
from shared.tables import Device
from shared.upsert import insert_if_absent, insert_or_replace
from shared.worker_registry import WorkerInfo, row_values


class NameHeld(Exception):
    """Another instance holds a worker's name, and may still run.

    Attributes:
        worker_id: The name.
        holder: The name and the other instance, which is None if its version does not say.
        seen_at: When it was heard of last.
        silent_seconds: How long ago that was.
        draining: Whether it is about to stop.
    """

    def __init__(self, row: Device, now: datetime) -> None:
        self.worker_id = row.id
        self.holder = (row.id, row.instance_id)
        self.seen_at = last_seen(row)
        self.silent_seconds = (now - self.seen_at).total_seconds()
        self.draining = row.drain_requested_at is not None
        super().__init__(
            f"another worker runs under the name {row.host!r} (QUIRE_HOST_NAME or --host-name): it "
            f"holds {row.id}, started at {row.started_at:%Y-%m-%d %H:%M:%S} UTC and was heard of "
            f"{max(0.0, self.silent_seconds):.0f} s ago. Give each host a name of its own, or stop "
            "the other one"
        )


def new_instance_id() -> str:
    """Return a random number for one start of a worker."""
    return uuid4().hex


def take_names(
    engine: Engine,
    workers: Sequence[WorkerInfo],
    lease_seconds: float,
    clock: Clock = database_now,
) -> None:
    """Register all workers of a supervisor as not ready, or none of them.

    A name is free if no row holds it, if its holder was not heard of for a lease, or if its
    holder's process has ended on this machine.

    Raises:
        NameHeld: Another instance may still run under one of the names.
    """
    with engine.begin() as connection:
        # In one order, so that two that start at once can't wait for each other.
        for worker in sorted(workers, key=lambda worker: worker.id):
            _take(connection, worker, lease_seconds, clock)


def hold_names(
    engine: Engine, workers: Sequence[WorkerInfo], clock: Clock = database_now
) -> set[str]:
    """Say that the supervisor of these workers runs.

    Returns:
        The names that another instance holds by now. A row that is missing is not among them: a
        lane that has stopped in order takes its row away, and puts it back when it starts again.
    """
    ids = [worker.id for worker in workers]
    [instance_id] = {worker.instance_id for worker in workers}
    with engine.begin() as connection:
        values = {"instance_seen_at": clock(connection), "instance_process": own_identity()}
        mine = Device.instance_id == instance_id
        connection.execute(update(Device).where(Device.id.in_(ids), mine).values(values))
        others = select(Device.id).where(Device.id.in_(ids), mine.is_not(True))
        return set(connection.scalars(others))


def last_seen(row: Device) -> datetime:
    """When a worker was heard of last: its child, or its supervisor."""
    return max(row.heartbeat_at, row.instance_seen_at or row.heartbeat_at)


def _take(connection: Connection, worker: WorkerInfo, lease_seconds: float, clock: Clock) -> None:
    now = clock(connection)
    values = row_values(worker, now, ready=False) | {
        "instance_process": own_identity(),
        "instance_seen_at": now,
    }
    if insert_if_absent(connection, Device, values):
        return
    row = _locked_row(connection, worker.id)
    # The wait for the lock may have been long.
    now = clock(connection)
    if row is not None and row.instance_id != worker.instance_id:
        silent = now - last_seen(row) >= timedelta(seconds=lease_seconds)
        if not silent and not has_surely_ended(row.instance_process):
            raise NameHeld(row, now)
    insert_or_replace(connection, Device, values)


def _locked_row(connection: Connection, worker_id: str) -> Device | None:
    columns = Device.__table__.columns
    found = connection.execute(
        select(*columns).where(Device.id == worker_id).with_for_update()
    ).one_or_none()
    return None if found is None else Device(**found._mapping)
