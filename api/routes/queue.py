"""The queue: its length, and the place of every job."""

from collections.abc import Iterator
from itertools import islice

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.openapi import Resource
from api.http.responses import json_response
from api.permissions import current_user
from api.schemas.params import MAX_PAGE_ITEMS, QueueQuery
from api.schemas.queue import LaneReply, QueueEntryReply, QueueReply
from api.services import reading, services
from shared.scheduling.forecast import Forecast
from shared.scheduling.forecast_queries import own_jobs
from shared.tables import Job, Kind, User

queue = Resource("queue", "Jobs that wait for a device")

LANES: tuple[Kind, ...] = ("train", "generate")


@queue.get("/queue", QueueReply)
def read_queue(query: QueueQuery) -> Response:
    """Read the queues of both kinds in the order in which jobs will start.

    Users who were served least come first. Other users' entries have no job and no name, and only
    admins see their user. Jobs that wait for other jobs are not in the queue yet.
    """
    kinds = LANES if query.kind is None else (query.kind,)
    with reading() as session:
        viewer = current_user().id
        connection = session.connection()
        forecasts = [services().forecasts.of(connection, kind, viewer) for kind in kinds]
        entries = [
            entry
            for forecast in forecasts
            for entry in islice(_entries(session, forecast), query.limit)
        ]
        return json_response(
            QueueReply(lanes=[_lane(forecast) for forecast in forecasts], line=entries)
        )


def _lane(forecast: Forecast) -> LaneReply:
    return LaneReply(
        kind=forecast.kind,
        workers=forecast.workers,
        running=forecast.running,
        queued=forecast.queued,
        users=len(forecast.users),
        slice_seconds=round(forecast.slice_seconds, 3),
    )


def _entries(session: Session, forecast: Forecast) -> Iterator[QueueEntryReply]:
    user = current_user()
    connection = session.connection()
    own = own_jobs(connection, forecast.kind, user.id, forecast.promoted)
    promoted = [job_id for job_id, user_id in forecast.promoted.items() if user_id == user.id]
    named = Job.id.in_(promoted + own[:MAX_PAGE_ITEMS])
    names = dict(connection.execute(select(Job.id, Job.name).where(named)).all())
    users = dict(
        connection.execute(select(User.id, User.name).where(User.id.in_(forecast.users))).all()
    )
    remaining = iter(own)
    for turn in forecast.turns():
        is_mine = turn.user_id == user.id
        job_id = (turn.job_id or next(remaining, None)) if is_mine else None
        yield QueueEntryReply(
            kind=forecast.kind,
            position=turn.position,
            starts_at=turn.starts_at,
            mine=is_mine,
            job=job_id,
            name=None if job_id is None else names.get(job_id),
            user=users.get(turn.user_id) if is_mine or user.is_admin else None,
        )
