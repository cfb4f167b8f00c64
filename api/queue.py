"""The line: how long it is, and who stands where in it."""

from collections.abc import Iterator
from itertools import islice

from flask import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.answers import answer
from api.auth import caller
from api.openapi import Resource
from api.schemas.addresses import InLine
from api.schemas.line_replies import LaneReply, QueueReply, TurnReply
from api.services import reading, services
from shared.line import Line, own_jobs
from shared.records import Kind
from shared.tables import Job, User

line = Resource("queue", "The line in which jobs wait for a device")

LANES: tuple[Kind, ...] = ("train", "generate")


@line.get("/queue", QueueReply)
def read_queue(query: InLine) -> Response:
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
        workers=len(line.free_seconds),
        running=line.running,
        queued=line.queued,
        users=len(line.parties),
        slice_seconds=round(line.slice_seconds, 3),
    )


def _turns(session: Session, line: Line) -> Iterator[TurnReply]:
    me = caller()
    connection = session.connection()
    mine = own_jobs(connection, line.kind, me.id)
    names = dict(connection.execute(select(Job.id, Job.name).where(Job.id.in_(mine[:100]))).all())
    users = dict(
        connection.execute(select(User.id, User.name).where(User.id.in_(line.parties))).all()
    )
    own = iter(mine)
    for position, user_id in enumerate(line.order(), start=1):
        job_id = next(own, None) if user_id == me.id else None
        shown = user_id == me.id or me.is_admin
        yield TurnReply(
            kind=line.kind,
            position=position,
            starts_at=line.start_of(position),
            mine=user_id == me.id,
            job=job_id,
            name=None if job_id is None else names.get(job_id),
            user=users.get(user_id) if shown else None,
        )
