"""``GET /v1/jobs/{id}/events``: a job as it goes, as Server-Sent Events."""

from typing import Any

from flask import Response, stream_with_context

from api.http.openapi import Resource, returns_non_json
from api.operations.event_stream import JobEventStream, has_received_end
from api.permissions import own_job
from api.schemas.headers import LastEventIdHeader
from api.schemas.params import IdPath
from api.services import reading, services

events = Resource("events", "A job as it goes")

EVENT_STREAM = "text/event-stream"
EVENT: dict[str, Any] = {
    "type": "object",
    "description": "one event",
    "properties": {
        "event": {"type": "string", "enum": ["state", "piece", "metrics", "text"]},
        "data": {"type": "string", "description": "JSON"},
        "id": {"type": "string", "description": "for `Last-Event-ID`"},
    },
}
DESCRIPTION: dict[int, Any] = {
    200: {
        "description": "Events until the job has ended",
        "content": {EVENT_STREAM: {"schema": EVENT}},
    },
    204: {"description": "The job has ended, and `Last-Event-ID` was its last event"},
}


@events.get("/jobs/<id>/events", DESCRIPTION[200], also={204: DESCRIPTION[204]})
@returns_non_json
def follow_job(path: IdPath, header: LastEventIdHeader) -> Response:
    """Follow a job as Server-Sent Events (the HTML standard's `EventSource`).

    `state`: the job, whenever its status, its attempt, its place in the line, or a request to
    cancel or pause it is another; the one with which it has ended is the last event. How far a
    running job is, its other events tell. Of a generation `piece`: of the text number `index`,
    the `text` from character `offset` on, as it is written; the first one has its `prompt`. Of a
    training `metrics`: a point of the loss curves. Of both `text`: a finished text.

    First comes what is there already; all points of the curves are at `/v1/jobs/{id}/metrics`.
    With `Last-Event-ID` it goes on behind that event; where the server has lost what came behind
    it, everything comes again. Too many listeners are refused with 503 and `Retry-After`.
    """
    shared = services()
    with reading() as session:
        job = own_job(session, path.id)
        if has_received_end(job, header.last_event_id):
            return Response(status=204)
    leave = shared.seats.take()
    following = JobEventStream(shared, job.id, header.last_event_id)
    response = Response(stream_with_context(following.events()), content_type=EVENT_STREAM)
    response.call_on_close(leave)
    # Caches keep nothing of it, and proxies pass it on as it comes.
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response
