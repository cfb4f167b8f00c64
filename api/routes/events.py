"""Follow jobs as Server-Sent Events: ``/v1/jobs/{id}/events`` and ``/v1/events``."""

from collections.abc import Callable, Sequence

from flask import Response

from api.errors import Invalid
from api.http.client_gone import sender_of_request
from api.http.openapi import Resource, returns_non_json
from api.operations.following.event_stream import encode_of_job, encode_of_jobs, places_of_jobs
from api.operations.following.job_follower import JobFollower, has_received_end
from api.operations.following.stream_response import DESCRIPTION, stream_response
from api.permissions import current_user, own_job
from api.schemas.headers import LastEventIdHeader, LastEventIdsHeader
from api.schemas.params import MAX_FOLLOWED_JOBS, EventsQuery, IdPath
from api.services import reading, services

events = Resource("events", "Follow jobs live")


@events.get("/jobs/<id>/events", DESCRIPTION[200], other_responses={204: DESCRIPTION[204]})
@returns_non_json
def follow_job(path: IdPath, header: LastEventIdHeader) -> Response:
    """Follow a job as Server-Sent Events (the HTML standard's `EventSource`).

    `state` is the job. It is sent when the status, the attempt, the place in the queue, or a
    request to cancel or pause changes; the state in which the job ends is the last event. `piece`
    (generations) is a part of a text while it is written: the `text` of number `index` from
    character `offset` on. The first piece of a text has its `prompt`; with `top_logprobs` each has
    the `tokens`, `logprobs` and `top_logprobs` of its own tokens. `metrics` (trainings) is a
    point of the loss curves. `text` (both) is a finished text. `closed` is the last event of a
    stream whose API key was revoked or has expired, or whose owner was disabled; it has a
    `reason`.

    The stream starts with what exists already; `/v1/jobs/{id}/metrics` has all points of the
    curves. With `Last-Event-ID` it resumes after that event. If the server no longer has the later
    events, it sends everything again. While too many streams are open, the response is 503 with
    `Retry-After`.
    """
    followers = _followers([path.id], lambda _job: header.last_event_id)
    return stream_response(followers, encode_of_job, current_user().id)


@events.get("/events", DESCRIPTION[200], other_responses={204: DESCRIPTION[204]})
@returns_non_json
def follow_jobs(query: EventsQuery, header: LastEventIdsHeader) -> Response:
    """Follow several jobs in one stream, which takes one connection and one seat.

    The events are those of `/v1/jobs/{id}/events`. The data of each is an object of `job`, the id
    of the job, and `data`, what that stream would send. An `id` holds the place in the stream of
    every job: it resumes without a gap or a repeat, as `Last-Event-ID` or, for a stream of other
    jobs, as `after`; jobs that it does not name start from the beginning. The stream ends when all
    jobs have ended.
    """
    jobs = query.jobs.split(",")
    if len(jobs) > MAX_FOLLOWED_JOBS or len(set(jobs)) < len(jobs):
        raise Invalid(
            "jobs",
            query.jobs[:100],
            f"has {len(jobs)} ids. Give 1 to {MAX_FOLLOWED_JOBS} different ones, separated by "
            "commas",
        )
    places = places_of_jobs(header.last_event_id or query.after)
    followers = _followers(jobs, places.get)
    return stream_response(followers, encode_of_jobs(followers), current_user().id)


def _followers(
    references: Sequence[str], last_id_of: Callable[[str], str | None]
) -> list[JobFollower]:
    """Return the followers of those jobs whose end the client has not received yet."""
    shared, sender = services(), sender_of_request()
    with reading() as session:
        jobs = [own_job(session, reference) for reference in references]
        return [
            JobFollower(shared, job.id, last_id_of(job.id), sender)
            for job in jobs
            if not has_received_end(job, last_id_of(job.id))
        ]
