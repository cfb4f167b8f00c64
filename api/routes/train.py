"""``POST /v1/train``: train a network on a corpus."""

from flask import Response

from api.http.idempotency import create_once
from api.http.openapi import Resource
from api.http.rate_limits import creates
from api.http.responses import json_response
from api.operations.trainings.training import dry_run_training, enqueue_training
from api.schemas.headers import IdempotencyHeader
from api.schemas.jobs import JobReply, TrainDryRunReply
from api.schemas.params import TrainQuery
from api.schemas.training import TrainRequest
from api.services import writing

train = Resource("train", "Train networks")


@train.post("/train", 202, JobReply, other_responses={200: TrainDryRunReply})
@creates
def submit_training(header: IdempotencyHeader, query: TrainQuery, body: TrainRequest) -> Response:
    """Train a network on a corpus.

    The response is the job, with an estimate of its cost. Its `model` can write as soon as it has
    a checkpoint. Every number of the preset can be changed, and `from` starts from a checkpoint. A
    training that no worker could run is refused with 422, naming the number to lower. A model
    without a `name` gets the name of its corpus. Names need not be unique: ids are.
    """
    if query.dry_run:
        # It locks what it looks up, as a submission does.
        with writing() as session:
            return json_response(dry_run_training(session, body))
    return create_once(header, body, lambda session: enqueue_training(session, body)).response()
