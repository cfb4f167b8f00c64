"""An event stream as a response, which holds a seat of somebody's while it lasts."""

from collections.abc import Sequence
from typing import Any

from flask import Response, stream_with_context

from api.errors import TooManyEventStreams
from api.front import NoSeat
from api.http.client_gone import client_gone, when_client_goes
from api.operations.following.event_stream import Encode, EventStream
from api.operations.following.job_follower import JobFollower
from api.services import services

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


def stream_response(followers: Sequence[JobFollower], encode: Encode, user_id: str) -> Response:
    """Stream what followers tell; 204 if there are none, since all has been told.

    Args:
        followers: The jobs.
        encode: How an event is written.
        user_id: Whose seat the stream takes.

    Raises:
        TooManyEventStreams: All seats are taken, and this user may have no more.
    """
    if not followers:
        return Response(status=204)
    shared = services()
    try:
        seat = shared.event_stream_seats.take(user_id)
    except NoSeat:
        raise TooManyEventStreams(shared.settings.max_listeners) from None
    hung_up = client_gone()
    stream = EventStream(shared, followers, should_end=lambda: seat.revoked.is_set() or hung_up())
    response = Response(stream_with_context(stream.encoded(encode)), content_type=EVENT_STREAM)
    response.call_on_close(lambda: shared.event_stream_seats.leave(seat))
    # The thread notices later that its client left.
    when_client_goes(lambda: shared.event_stream_seats.vacate(seat))
    # Caches must not store it, and proxies must not buffer it.
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response
