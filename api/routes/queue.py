"""The line: how long it is, and who stands where in it."""

from collections.abc import Iterator
from itertools import islice

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.permissions import current_user
from api.http.openapi import Resource
from api.http.responses import answer
from api.schemas.params import MAX_PAGE_ITEMS, QueueQuery
from api.schemas.queue import LaneReply, QueueReply, QueueEntryReply
from api.services import reading, services
from shared.scheduling.forecast import Line
from shared.scheduling.forecast_reader import own_jobs
from shared.tables import Job, Kind, User

line = Resource("queue", "The line in which jobs wait for a device")

LANES: tuple[Kind, ...] = ("train", "generate")


@line.get("/queue", QueueReply)
def read_queue(query: QueueQuery) -> Response:
    """The lines of both kinds: the users with the least service first, job by job.

    What is not yours has neither job nor name, and a user only for admins. Jobs that wait for
    other jobs stand in no line yet.
    """
    kinds = LANES if query.kind is None else (query.kind,)
    with reading() as session:
        lines = [services().lines.of(session.connection(), kind) for kind in kinds]
        turns = [turn for each in lines for turn in islice(_turns(session, each), query.limit)]
        return answer(QueueReply(lanes=[_lane(each) for each in lines], line=turns))


def _lane(line: Line) -> LaneReply:
    return LaneReply(
        kind=line.kind,
        workers=line.workers,
        running=line.running,
        queued=line.queued,
        users=len(line.parties),
        slice_seconds=round(line.slice_seconds, 3),
    )


def _turns(session: Session, line: Line) -> Iterator[QueueEntryReply]:
    me = current_user()
    connection = session.connection()
    mine = own_jobs(connection, line.kind, me.id, line.lifted)
    lifted = [job_id for job_id, user_id in line.lifted.items() if user_id == me.id]
    named = Job.id.in_(lifted + mine[:MAX_PAGE_ITEMS])
    names = dict(connection.execute(select(Job.id, Job.name).where(named)).all())
    users = dict(
        connection.execute(select(User.id, User.name).where(User.id.in_(line.parties))).all()
    )
    own = iter(mine)
    for turn in line.order():
        is_mine = turn.user_id == me.id
        job_id = (turn.job_id or next(own, None)) if is_mine else None
        yield QueueEntryReply(
            kind=line.kind,
            position=turn.position,
            starts_at=turn.starts_at,
            mine=is_mine,
            job=job_id,
            name=None if job_id is None else names.get(job_id),
            user=users.get(turn.user_id) if is_mine or me.is_admin else None,
        )
