"""The Server-Sent Events of a job, followed across restarts of the server."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx2

from quire.client import Client
from quire.client.replies import Job
from quire.client.retry import POLL_SECONDS, Notify, retry_while_unreachable
from quire.client.transport import ApiError
from quire.errors import EventStreamError, ServerUnreachable

#: When to reconnect after a refusal that names no time.
RECONNECT_SECONDS = 15.0


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


def stream_events(client: Client, job: Job, notify: Notify | None = None) -> Iterator[StreamEvent]:
    """Yield the events of a job until it has ended, and reconnect when the stream breaks.

    Events are repeated after a break only if the server has lost the job's stream. While the
    server has too many open event streams, the job is polled instead; if it ends meanwhile, its
    texts and its final state are yielded as the stream would have sent them.

    Args:
        client: The server.
        job: The job.
        notify: Called once with a message if the server refuses the stream.

    Raises:
        ServerUnreachable: The server was unreachable for too long.
        EventStreamError: The stream is malformed.
        ApiError: The server refused the request.
    """
    last_event_id: str | None = None
    ended = was_refused = False
    while not ended:
        # This also waits until an unreachable server is back.
        job = retry_while_unreachable(partial(client.job, job.id))
        ended = job.ended
        try:
            with client.open_event_stream(job.id, last_event_id) as source:
                for event in decode(source):
                    last_event_id = event.id or last_event_id
                    yield event
                    if event.type == "state" and Job.model_validate(event.data).ended:
                        return
        except ServerUnreachable:
            ended = False
        except ApiError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            if notify and not was_refused:
                notify(f"{error.problem.title}: polling until the job has ended")
            was_refused = True
            if ended:
                yield from _final_events(client, job)
            else:
                _wait(client, job, error.retry_seconds or RECONNECT_SECONDS)


def stream_events_of_jobs(
    client: Client, job_ids: Sequence[str]
) -> Iterator[tuple[str, StreamEvent]]:
    """Yield the events of several jobs, each with its job's id, until all jobs have ended.

    One stream serves all jobs. It is opened again when it breaks, and goes on after the last event.

    Raises:
        ServerUnreachable: The server was unreachable for too long.
        EventStreamError: The stream is malformed.
        ApiError: The server refused the request.
    """
    last_event_id: str | None = None
    running = set(job_ids)
    while running:
        # This also waits until an unreachable server is back.
        retry_while_unreachable(partial(client.job, min(running)))
        try:
            with client.open_event_stream_of_jobs(job_ids, last_event_id) as source:
                for event in decode(source):
                    last_event_id = event.id or last_event_id
                    job_id, data = event.data["job"], event.data["data"]
                    yield job_id, StreamEvent(event.type, data, event.id)
                    if event.type == "state" and Job.model_validate(data).ended:
                        running.discard(job_id)
        except ServerUnreachable:
            continue
        except ApiError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(error.retry_seconds or RECONNECT_SECONDS)


def decode(source: httpx2.EventSource) -> Iterator[StreamEvent]:
    """Decode the JSON of each event.

    Raises:
        EventStreamError: The data of an event is not a JSON object.
    """
    for sent in source:
        if sent.event == "message":
            continue  # an id or a retry time alone: every event of a job has a name
        try:
            data = json.loads(sent.data)
        except json.JSONDecodeError as error:
            raise EventStreamError(f"event {sent.event!r} is not valid JSON: {error}") from None
        if not isinstance(data, dict):
            raise EventStreamError(f"event {sent.event!r} is not a JSON object: {data!r}")
        yield StreamEvent(sent.event, data, sent.id or None)


def _wait(client: Client, job: Job, seconds: float) -> None:
    """Wait for `seconds`, or until the job has ended."""
    deadline = time.monotonic() + seconds
    while not job.ended and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(POLL_SECONDS, left))
        job = retry_while_unreachable(partial(client.job, job.id))


def _final_events(client: Client, job: Job) -> Iterator[StreamEvent]:
    """The events that the stream of an ended job consists of."""
    for text in retry_while_unreachable(lambda: list(client.job_texts(job.id))):
        yield StreamEvent("text", text.as_json(), None)
    state = job.as_json()
    state.pop("texts", None)
    yield StreamEvent("state", state, None)
