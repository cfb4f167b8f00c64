"""``POST /v1/train``: train a network on a corpus."""

from flask import Response

from api.http.idempotency import create_once
from api.http.openapi import Resource
from api.http.rate_limits import creates
from api.operations.training import enqueue_training
from api.schemas.headers import IdempotencyHeader
from api.schemas.jobs import JobReply
from api.schemas.training import TrainRequest

train = Resource("train", "Train networks")


@train.post("/train", 202, JobReply)
@creates
def submit_training(header: IdempotencyHeader, body: TrainRequest) -> Response:
    """Train a network on a corpus.

    The response is the job, with an estimate of its cost. Its `model` can write as soon as it has
    a checkpoint. Every number of the preset can be changed, and `from` starts from a checkpoint. A
    training that no worker could run is refused with 422, naming the number to lower. A model
    without a `name` gets the name of its corpus. Names need not be unique: ids are.
    """
    return create_once(header, body, lambda session: enqueue_training(session, body)).response()
