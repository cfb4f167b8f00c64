"""Devices: the workers and their current jobs."""

from datetime import datetime

from flask import Response
from sqlalchemy import and_, select

from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import page_response
from api.permissions import current_user
from api.schemas.params import Page
from api.schemas.replies import Listing
from api.schemas.server import DeviceReply
from api.services import reading, services
from shared.clock import database_now
from shared.tables import Device, Job
from shared.worker_registry import is_alive

devices = Resource("devices", "The workers")

BY_ID = SortOrder("devices", (Device.id,), newest_first=False)


@devices.get("/devices", Listing[DeviceReply])
def list_devices(query: Page) -> Response:
    """List the workers by host, device and lane. Other users' jobs are hidden."""
    own_job = and_(Job.id == Device.current_job_id, Job.user_id == current_user().id)
    statement = select(Device, Job.id).outerjoin(Job, own_job)
    with reading() as session:
        now = database_now(session.connection())
        rows, next_cursor = read_page(session, statement, BY_ID, query)
    return page_response((_reply(device, job, now) for device, job in rows), next_cursor)


def _reply(device: Device, job_id: str | None, now: datetime) -> DeviceReply:
    return DeviceReply(
        id=device.id,
        host=device.host,
        device=device.device,
        lane=device.lane,
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
    )
