"""The events of a job's stream, decoded."""

import json
from dataclasses import dataclass
from typing import Any

import httpx2

from quire.errors import EventStreamError


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a job's stream.

    Attributes:
        type: ``state``, ``piece``, ``metrics`` or ``text``.
        data: The payload, as ``GET /v1/jobs/{id}/events`` documents it.
        id: The value of Last-Event-ID that resumes the stream after this event; None where the
            stream cannot be resumed there.
    """

    type: str
    data: dict[str, Any]
    id: str | None


def decode(sent: httpx2.ServerSentEvent) -> StreamEvent | None:
    """Decode the JSON of an event; None for an id or a retry time alone.

    Raises:
        EventStreamError: The data of the event is not a JSON object.
    """
    if sent.event == "message":
        return None  # every event of a job has a name
    try:
        data = json.loads(sent.data)
    except json.JSONDecodeError as error:
        raise EventStreamError(f"event {sent.event!r} is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise EventStreamError(f"event {sent.event!r} is not a JSON object: {data!r}")
    return StreamEvent(sent.event, data, sent.id or None)
