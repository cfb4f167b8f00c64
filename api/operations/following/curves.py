"""The points of a training's loss curves: a page of them, or as many as a picture needs."""

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.http.paging import SortOrder, read_page
from api.schemas.jobs import MetricReply
from api.schemas.params import MetricsPage
from shared.tables import Metric

CURVE = SortOrder("metrics", (Metric.step,), newest_first=False)
#: A thinned curve keeps the minimum and maximum of each bucket, for both kinds of loss.
POINTS_PER_BUCKET = 4


def points_of(
    session: Session, job_id: str, query: MetricsPage
) -> tuple[list[MetricReply], str | None]:
    """Return the points of a job that a query asks for, and the cursor of the next page.

    Raises:
        Invalid: It asks for a page of a thinned curve, which has one.
    """
    if query.points is not None and query.cursor is not None:
        raise Invalid(
            "cursor",
            query.cursor,
            "not allowed together with points, which returns one page. Leave one of them out",
        )
    statement = select(Metric).where(Metric.job_id == job_id)
    if query.after is not None:
        statement = statement.where(Metric.step > query.after)
    if query.validation is not None:
        validated = Metric.val_loss.is_not(None)
        statement = statement.where(validated if query.validation else ~validated)
    if query.points is None:
        rows, next_cursor = read_page(session, statement, CURVE, query)
        return [_metric_reply(row[0]) for row in rows], next_cursor
    return [_metric_reply(point) for point in _thin(session, statement, query.points)], None


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
