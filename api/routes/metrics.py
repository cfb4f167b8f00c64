"""How a training goes: its loss curves, and its history."""

from flask import Response
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.openapi import Resource
from api.http.paging import SortOrder, read_page
from api.http.responses import page_response
from api.permissions import own_job
from api.schemas.jobs import EventReply, MetricReply
from api.schemas.params import IdPath, HistoryPage, MetricsPage
from api.schemas.replies import Listing
from api.services import reading
from shared.tables import JobEvent, Metric

metrics = Resource("metrics", "How a training goes, and what happened to a job")

CURVE = SortOrder("metrics", (Metric.step,), newest_first=False)
HISTORY = SortOrder("history", (JobEvent.id,), newest_first=False)
#: Of a thinned curve each piece gives its least and its greatest loss, of training and validation.
KEPT_OF_A_PIECE = 4


@metrics.get("/jobs/<id>/metrics", Listing[MetricReply])
def list_job_metrics(path: IdPath, query: MetricsPage) -> Response:
    """The loss curves of a training, from its first step on.

    Who watches asks again with `after` set to the last step seen. A point that has a `val_loss`
    was judged on the held-out text; its `loss` is the mean since the last such point, that of
    the others the mean since the point before. A step that is done again replaces its point.
    """
    if query.points is not None and query.cursor is not None:
        raise Invalid("cursor", query.cursor, "a thinned curve has one page: leave out `points`")
    with reading() as session:
        job = own_job(session, path.id)
        statement = select(Metric).where(Metric.job_id == job.id)
        if query.after is not None:
            statement = statement.where(Metric.step > query.after)
        if query.validation is not None:
            judged = Metric.val_loss.is_not(None)
            statement = statement.where(judged if query.validation else ~judged)
        if query.points is None:
            rows, next_cursor = read_page(session, statement, CURVE, query)
            points = [row[0] for row in rows]
        else:
            points, next_cursor = _thinned(session, statement, query.points), None
    return page_response((_metric_reply(point) for point in points), next_cursor)


@metrics.get("/jobs/<id>/history", Listing[EventReply])
def list_job_history(path: IdPath, query: HistoryPage) -> Response:
    """What happened to a job, in order.

    Who watches asks again with `after` set to the last id seen.
    """
    with reading() as session:
        job = own_job(session, path.id)
        statement = select(JobEvent).where(JobEvent.job_id == job.id)
        if query.after is not None:
            statement = statement.where(JobEvent.id > query.after)
        rows, next_cursor = read_page(session, statement, HISTORY, query)
    return page_response((_event_reply(row[0]) for row in rows), next_cursor)


def _thinned(session: Session, statement: Select[Metric], most: int) -> list[Metric]:
    """A curve in at most `most` points that look like all of them.

    The first and the last stay, and of equal pieces between them the extremes: a single
    exploding step among a million is still seen.
    """
    everything = statement.subquery()
    count = session.scalar(select(func.count()).select_from(everything)) or 0
    if count <= most:
        return list(session.scalars(statement.order_by(Metric.step)))
    pieces = max(1, (most - 2) // KEPT_OF_A_PIECE)
    cut = select(
        everything.c.step,
        everything.c.loss,
        everything.c.val_loss,
        func.ntile(pieces).over(order_by=everything.c.step).label("piece"),
    ).subquery()
    # A piece without a value has no extreme of it: its ranks are those of nulls, and don't count.
    extremes = [
        (value, func.row_number().over(partition_by=cut.c.piece, order_by=(order, cut.c.step)))
        for value in (cut.c.loss, cut.c.val_loss)
        for order in (value.asc().nulls_last(), value.desc().nulls_last())
    ]
    ranked = select(
        cut.c.step,
        func.row_number().over(order_by=cut.c.step).label("place"),
        *(rank.label(f"rank_{i}") for i, (_, rank) in enumerate(extremes)),
        *(value.label(f"value_{i}") for i, (value, _) in enumerate(extremes)),
    ).subquery()
    kept = select(ranked.c.step).where(
        or_(
            ranked.c.place.in_((1, count)),
            *(
                (ranked.c[f"rank_{i}"] == 1) & ranked.c[f"value_{i}"].is_not(None)
                for i in range(len(extremes))
            ),
        )
    )
    chosen = statement.where(Metric.step.in_(kept)).order_by(Metric.step)
    return list(session.scalars(chosen))


def _metric_reply(metric: Metric) -> MetricReply:
    return MetricReply(
        step=metric.step,
        epoch=metric.epoch,
        loss=metric.loss,
        val_loss=metric.val_loss,
        bits_per_char=metric.bits_per_char,
        learning_rate=metric.learning_rate,
        characters_per_second=metric.characters_per_second,
        at=metric.at,
    )


def _event_reply(event: JobEvent) -> EventReply:
    return EventReply(
        id=event.id, type=event.type, attempt=event.attempt, data=event.data, at=event.at
    )
