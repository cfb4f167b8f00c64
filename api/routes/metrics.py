"""Loss curves of a training, and the history of a job."""

from flask import Response

from api.http.openapi import Resource
from api.http.responses import page_response
from api.operations.following.curves import points_of
from api.operations.following.history import history_of
from api.permissions import own_job
from api.schemas.jobs import EventReply, MetricReply
from api.schemas.params import HistoryPage, IdPath, MetricsPage
from api.schemas.replies import Listing
from api.services import reading

metrics = Resource("metrics", "Loss curves of trainings, and the history of jobs")


@metrics.get("/jobs/<id>/metrics", Listing[MetricReply])
def list_job_metrics(path: IdPath, query: MetricsPage) -> Response:
    """List the points of a training's loss curves, from the first step on.

    To follow a training, repeat the request with `after` set to the last step received. A point
    with a `val_loss` is a validation on the held-out pieces: its `loss` is the mean since the
    validation before. The `loss` of any other point is the mean since the point before. A step
    that is repeated replaces its point.
    """
    with reading() as session:
        points, next_cursor = points_of(session, own_job(session, path.id).id, query)
    return page_response(points, next_cursor)


@metrics.get("/jobs/<id>/history", Listing[EventReply])
def list_job_history(path: IdPath, query: HistoryPage) -> Response:
    """List the events in a job's history, oldest first.

    To follow a job, repeat the request with `after` set to the last id received.
    """
    with reading() as session:
        job = own_job(session, path.id)
        events, next_cursor = history_of(session, job.id, query)
    return page_response(events, next_cursor)
