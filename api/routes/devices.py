"""Devices: the workers and their current jobs."""

from datetime import datetime

from flask import Response
from sqlalchemy import and_, exists, func, select, update

from api.errors import NotFound
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import json_response, page_response
from api.operations.audit import record
from api.permissions import current_user, require_admin
from api.schemas.operations import Drain
from api.schemas.params import Page
from api.schemas.replies import Listing
from api.schemas.server import DeviceReply, DeviceToFree, DrainReply, FreedDeviceReply
from api.services import reading, services, writing
from shared.clock import database_now
from shared.device_health import free_within
from shared.tables import Device, DeviceHealth, Job
from shared.worker_registry import is_alive

devices = Resource("devices", "The workers")

BY_ID = SortOrder("devices", (Device.id,), newest_first=False)


@devices.get("/devices", Listing[DeviceReply])
def list_devices(query: Page) -> Response:
    """List the workers by host, device, lane and slot. Other users' jobs are hidden."""
    own_job = and_(Job.id == Device.current_job_id, Job.user_id == current_user().id)
    of_device = and_(DeviceHealth.host == Device.host, DeviceHealth.device == Device.device)
    statement = (
        select(Device, Job.id, DeviceHealth)
        .outerjoin(Job, own_job)
        .outerjoin(DeviceHealth, of_device)
    )
    with reading() as session:
        now = database_now(session.connection())
        rows, next_cursor = read_page(session, statement, BY_ID, query)
    return page_response((_reply(*row, now=now) for row in rows), next_cursor)


@devices.post("/devices/drain", 202, DrainReply, scope="admin")
def drain_devices(body: Drain) -> Response:
    """Ask the workers of a host, or of one of its devices, to stop working (admins only).

    Each running job writes its checkpoint and returns to the queue, where other workers take it.
    A worker stays drained until it is started again.
    """
    require_admin()
    which = [Device.host == body.host]
    if body.device is not None:
        which.append(Device.device == body.device)
    with writing() as session:
        connection = session.connection()
        drained = connection.execute(
            update(Device)
            .where(*which)
            .values(
                drain_requested_at=func.coalesce(
                    Device.drain_requested_at, database_now(connection)
                )
            )
            .returning(Device.id)
        )
        workers = sorted(drained.scalars())
        if not workers:
            place = body.host if body.device is None else f"{body.host}/{body.device}"
            raise NotFound("device", place)
        record(session, "device.drained", host=body.host, device=body.device)
    return json_response(DrainReply(workers=workers), 202)


@devices.post("/devices/free", 200, FreedDeviceReply, scope="admin")
def free_device(body: DeviceToFree) -> Response:
    """Let a broken or quarantined device take jobs again (admins only).

    Its workers probe it first, and its recent errors are forgotten.
    """
    require_admin()
    with writing() as session:
        known = exists().where(Device.host == body.host, Device.device == body.device)
        health = session.get(DeviceHealth, (body.host, body.device))
        if health is None and not session.scalar(select(known)):
            raise NotFound("device", f"{body.host}/{body.device}")
        problem = None if health is None else health.problem
        free_within(session.connection(), body.host, body.device)
        record(session, "device.freed", host=body.host, device=body.device, problem=problem)
    return json_response(FreedDeviceReply(host=body.host, device=body.device, problem=problem))


def _reply(
    device: Device, job_id: str | None, health: DeviceHealth | None, *, now: datetime
) -> DeviceReply:
    return DeviceReply(
        id=device.id,
        host=device.host,
        device=device.device,
        lane=device.lane,
        slot=device.slot,
        slots=device.slots,
        gpu_name=device.gpu_name,
        gpu_uuid=device.gpu_uuid,
        versions=device.versions,
        pid=device.pid,
        started_at=device.started_at,
        heartbeat_at=device.heartbeat_at,
        alive=is_alive(device, now, services().settings.lease_seconds),
        ready=device.ready_at is not None,
        draining=device.drain_requested_at is not None,
        current_job=job_id,
        gpu_memory_bytes=device.gpu_memory_bytes,
        problem=None if health is None else health.problem,
        quarantined=health is not None and health.quarantined,
        problem_since=None if health is None else health.since,
        retry_at=None if health is None else health.retry_at,
        faults=0 if health is None else len(health.faults),
    )
