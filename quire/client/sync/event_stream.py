# Written by `make client` from quire/client/aio/event_stream.py: change that file.
"""The Server-Sent Events of a job, followed across restarts of the server."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from http import HTTPStatus

from quire.client.events import StreamEvent, decode
from quire.client.problems import ApiError
from quire.client.replies import Job, Text
from quire.client.sync import runtime
from quire.client.sync.retry import POLL_SECONDS, Notify, retry_while_unreachable
from quire.client.sync.routes import Routes
from quire.errors import ServerUnreachable

#: When to reconnect after a refusal that names no time.
RECONNECT_SECONDS = 15.0


def stream_events(client: Routes, job: Job, notify: Notify | None = None) -> Iterator[StreamEvent]:
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
                for sent in source:
                    event = decode(sent)
                    if event is None:
                        continue
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
                for event in _final_events(client, job):
                    yield event
            else:
                _wait(client, job, error.retry_seconds or RECONNECT_SECONDS)


def stream_events_of_jobs(
    client: Routes, job_ids: Sequence[str]
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
                for sent in source:
                    event = decode(sent)
                    if event is None:
                        continue
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
            runtime.sleep(error.retry_seconds or RECONNECT_SECONDS)


def _wait(client: Routes, job: Job, seconds: float) -> None:
    """Wait for `seconds`, or until the job has ended."""
    deadline = time.monotonic() + seconds
    while not job.ended and (left := deadline - time.monotonic()) > 0:
        runtime.sleep(min(POLL_SECONDS, left))
        job = retry_while_unreachable(partial(client.job, job.id))


def _final_events(client: Routes, job: Job) -> list[StreamEvent]:
    """The events that the stream of an ended job consists of."""

    def texts_of() -> list[Text]:
        return [text for text in client.job_texts(job.id)]

    texts = retry_while_unreachable(texts_of)
    state = job.as_json()
    state.pop("texts", None)
    return [
        *(StreamEvent("text", text.as_json(), None) for text in texts),
        StreamEvent("state", state, None),
    ]
