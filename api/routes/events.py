"""``GET /v1/jobs/{id}/events``: follow a job as Server-Sent Events."""

from typing import Any

from flask import Response, request, stream_with_context

from api.errors import TooManyEventStreams
from api.front import NoSeat
from api.http.client_gone import client_gone, when_client_goes
from api.http.openapi import Resource, returns_non_json
from api.operations.event_stream import JobEventStream, has_received_end
from api.permissions import current_user, own_job
from api.schemas.headers import LastEventIdHeader
from api.schemas.params import IdPath
from api.services import reading, services

events = Resource("events", "Follow a job live")

EVENT_STREAM = "text/event-stream"
EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event",
    "properties": {
        "event": {"type": "string", "enum": ["state", "piece", "metrics", "text", "closed"]},
        "data": {"type": "string", "description": "A JSON object"},
        "id": {"type": "string", "description": "To resume with `Last-Event-ID`"},
    },
}
DESCRIPTION: dict[int, Any] = {
    200: {
        "description": "Events until the job ends",
        "content": {EVENT_STREAM: {"schema": EVENT}},
    },
    204: {"description": "The job has ended, and `Last-Event-ID` was its last event"},
}


@events.get("/jobs/<id>/events", DESCRIPTION[200], other_responses={204: DESCRIPTION[204]})
@returns_non_json
def follow_job(path: IdPath, header: LastEventIdHeader) -> Response:
    """Follow a job as Server-Sent Events (the HTML standard's `EventSource`).

    `state` is the job. It is sent when the status, the attempt, the place in the queue, or a
    request to cancel or pause changes; the state in which the job ends is the last event. `piece`
    (generations) is a part of a text while it is written: the `text` of number `index` from
    character `offset` on. The first piece of a text has its `prompt`. `metrics` (trainings) is a
    point of the loss curves. `text` (both) is a finished text. `closed` is the last event of a
    stream whose API key was revoked or has expired, or whose owner was disabled; it has a
    `reason`.

    The stream starts with what exists already; `/v1/jobs/{id}/metrics` has all points of the
    curves. With `Last-Event-ID` it resumes after that event. If the server no longer has the later
    events, it sends everything again. While too many streams are open, the response is 503 with
    `Retry-After`.
    """
    shared = services()
    with reading() as session:
        job = own_job(session, path.id)
        if has_received_end(job, header.last_event_id):
            return Response(status=204)
    try:
        seat = shared.event_stream_seats.take(current_user().id)
    except NoSeat:
        raise TooManyEventStreams(shared.settings.max_listeners) from None
    hung_up = client_gone()
    stream = JobEventStream(
        shared,
        job.id,
        header.last_event_id,
        should_end=lambda: seat.revoked.is_set() or hung_up(),
        sender=request.headers.get("Authorization", ""),
    )
    response = Response(stream_with_context(stream.encoded()), content_type=EVENT_STREAM)
    response.call_on_close(lambda: shared.event_stream_seats.leave(seat))
    # The thread notices later that its client left.
    when_client_goes(lambda: shared.event_stream_seats.vacate(seat))
    # Caches must not store it, and proxies must not buffer it.
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response
