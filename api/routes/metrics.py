"""Loss curves of a training, and the history of a job."""

from flask import Response
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import page_response
from api.permissions import own_job
from api.schemas.jobs import EventReply, MetricReply
from api.schemas.params import HistoryPage, IdPath, MetricsPage
from api.schemas.replies import Listing
from api.services import reading
from shared.tables import JobEvent, Metric

metrics = Resource("metrics", "Loss curves of trainings, and the history of jobs")

CURVE = SortOrder("metrics", (Metric.step,), newest_first=False)
HISTORY = SortOrder("history", (JobEvent.id,), newest_first=False)
#: A thinned curve keeps the minimum and maximum of each bucket, for both kinds of loss.
POINTS_PER_BUCKET = 4


@metrics.get("/jobs/<id>/metrics", Listing[MetricReply])
def list_job_metrics(path: IdPath, query: MetricsPage) -> Response:
    """List the points of a training's loss curves, from the first step on.

    To follow a training, repeat the request with `after` set to the last step received. A point
    with a `val_loss` is a validation on the held-out pieces: its `loss` is the mean since the
    validation before. The `loss` of any other point is the mean since the point before. A step
    that is repeated replaces its point.
    """
    if query.points is not None and query.cursor is not None:
        raise Invalid(
            "cursor",
            query.cursor,
            "not allowed together with points, which returns one page. Leave one of them out",
        )
    with reading() as session:
        job = own_job(session, path.id)
        statement = select(Metric).where(Metric.job_id == job.id)
        if query.after is not None:
            statement = statement.where(Metric.step > query.after)
        if query.validation is not None:
            validated = Metric.val_loss.is_not(None)
            statement = statement.where(validated if query.validation else ~validated)
        if query.points is None:
            rows, next_cursor = read_page(session, statement, CURVE, query)
            points = [row[0] for row in rows]
        else:
            points, next_cursor = _thin(session, statement, query.points), None
    return page_response((_metric_reply(point) for point in points), next_cursor)


@metrics.get("/jobs/<id>/history", Listing[EventReply])
def list_job_history(path: IdPath, query: HistoryPage) -> Response:
    """List the events in a job's history, oldest first.

    To follow a job, repeat the request with `after` set to the last id received.
    """
    with reading() as session:
        job = own_job(session, path.id)
        statement = select(JobEvent).where(JobEvent.job_id == job.id)
        if query.after is not None:
            statement = statement.where(JobEvent.id > query.after)
        rows, next_cursor = read_page(session, statement, HISTORY, query)
    return page_response((_event_reply(row[0]) for row in rows), next_cursor)


def _thin(session: Session, statement: Select[Metric], limit: int) -> list[Metric]:
    """Return at most `limit` points that preserve the shape of the curve.

    They are the first point, the last, and the extremes of equal buckets in between. A single
    exploding step among a million thus stays visible.
    """
    all_points = statement.subquery()
    count = session.scalar(select(func.count()).select_from(all_points)) or 0
    if count <= limit:
        return list(session.scalars(statement.order_by(Metric.step)))
    buckets = max(1, (limit - 2) // POINTS_PER_BUCKET)
    bucketed = select(
        all_points.c.step,
        all_points.c.loss,
        all_points.c.val_loss,
        func.ntile(buckets).over(order_by=all_points.c.step).label("bucket"),
    ).subquery()
    # In a bucket without a value the ranks are those of nulls, which do not count.
    extremes = [
        (
            value,
            func.row_number().over(
                partition_by=bucketed.c.bucket, order_by=(order, bucketed.c.step)
            ),
        )
        for value in (bucketed.c.loss, bucketed.c.val_loss)
        for order in (value.asc().nulls_last(), value.desc().nulls_last())
    ]
    ranked = select(
        bucketed.c.step,
        func.row_number().over(order_by=bucketed.c.step).label("number"),
        *(rank.label(f"rank_{i}") for i, (_, rank) in enumerate(extremes)),
        *(value.label(f"value_{i}") for i, (value, _) in enumerate(extremes)),
    ).subquery()
    kept = select(ranked.c.step).where(
        or_(
            ranked.c.number.in_((1, count)),
            *(
                (ranked.c[f"rank_{i}"] == 1) & ranked.c[f"value_{i}"].is_not(None)
                for i in range(len(extremes))
            ),
        )
    )
    thinned = statement.where(Metric.step.in_(kept)).order_by(Metric.step)
    return list(session.scalars(thinned))


def _metric_reply(metric: Metric) -> MetricReply:
    return MetricReply(
        step=metric.step,
        epoch=metric.epoch,
        loss=metric.loss,
        val_loss=metric.val_loss,
        bits_per_char=metric.bits_per_char,
        piece_losses=metric.piece_losses,
        learning_rate=metric.learning_rate,
        characters_per_second=metric.characters_per_second,
        at=metric.at,
    )


def _event_reply(event: JobEvent) -> EventReply:
    return EventReply(
        id=event.id, type=event.type, attempt=event.attempt, data=event.data, at=event.at
    )
