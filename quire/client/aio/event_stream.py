"""The Server-Sent Events of a job, followed across restarts of the server."""

import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from http import HTTPStatus

from quire.client.aio import runtime
from quire.client.aio.retry import POLL_SECONDS, Notify, retry_while_unreachable
from quire.client.aio.routes import AsyncRoutes
from quire.client.events import StreamEvent, decode
from quire.client.problems import ApiError
from quire.client.replies import Job, Text
from quire.errors import ServerUnreachable

#: When to reconnect after a refusal that names no time.
RECONNECT_SECONDS = 15.0


async def stream_events(
    client: AsyncRoutes, job: Job, notify: Notify | None = None
) -> AsyncIterator[StreamEvent]:
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
        job = await retry_while_unreachable(partial(client.job, job.id))
        ended = job.ended
        try:
            async with client.open_event_stream(job.id, last_event_id) as source:
                async for sent in source:
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
                for event in await _final_events(client, job):
                    yield event
            else:
                await _wait(client, job, error.retry_seconds or RECONNECT_SECONDS)


async def stream_events_of_jobs(
    client: AsyncRoutes, job_ids: Sequence[str]
) -> AsyncIterator[tuple[str, StreamEvent]]:
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
        await retry_while_unreachable(partial(client.job, min(running)))
        try:
            async with client.open_event_stream_of_jobs(job_ids, last_event_id) as source:
                async for sent in source:
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
            await runtime.sleep(error.retry_seconds or RECONNECT_SECONDS)


async def _wait(client: AsyncRoutes, job: Job, seconds: float) -> None:
    """Wait for `seconds`, or until the job has ended."""
    deadline = time.monotonic() + seconds
    while not job.ended and (left := deadline - time.monotonic()) > 0:
        await runtime.sleep(min(POLL_SECONDS, left))
        job = await retry_while_unreachable(partial(client.job, job.id))


async def _final_events(client: AsyncRoutes, job: Job) -> list[StreamEvent]:
    """The events that the stream of an ended job consists of."""

    async def texts_of() -> list[Text]:
        return [text async for text in client.job_texts(job.id)]

    texts = await retry_while_unreachable(texts_of)
    state = job.as_json()
    state.pop("texts", None)
    return [
        *(StreamEvent("text", text.as_json(), None) for text in texts),
        StreamEvent("state", state, None),
    ]
