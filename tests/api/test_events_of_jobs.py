"""One stream of several jobs: every job's events, resumed without a gap or a repeat."""

from typing import Any

from api.schemas.params import MAX_FOLLOWED_JOBS
from shared.event_publisher import EventPublisher
from tests.api.harness import ApiHarness, Person, problem, record
from tests.api.privacy_walk import UNKNOWN_ID
from tests.api.sse import EventStreamClient
from tests.api.test_events import TEXT, _short_intervals, publish_piece, publisher
from tests.services.redis import RedisServer

__all__ = ["_short_intervals", "publisher"]


def jobs_of(harness: ApiHarness, person: Person, count: int = 2) -> list[str]:
    model = harness.model(person)
    request = {"model": model["id"], "length": len(TEXT)}
    return [str(person.post("/v1/generate", request).json["id"]) for _ in range(count)]


def follow(
    person: Person, jobs: list[str], last_id: str | None = None, **query: str
) -> EventStreamClient:
    path = f"/v1/events?jobs={','.join(jobs)}"
    return EventStreamClient(
        person, "", last_id, path="&".join([path, *(f"{k}={v}" for k, v in query.items())])
    )


def pieces(events: list[Any], job: str) -> str:
    """Join the pieces of a job's first text; fail at a gap or a repeat."""
    text = ""
    for event in events:
        if event.kind == "piece" and event.data["job"] == job:
            piece = event.data["data"]
            assert piece["offset"] == len(text), (piece, text)
            text += piece["text"]
    return text


def end(harness: ApiHarness, publisher: EventPublisher, claim: Any) -> None:
    harness.queue.succeed(claim, [record(0, TEXT, None)])
    publisher.publish(claim.job_id, claim.attempt, "state")
    assert publisher.flush()


def test_one_stream_follows_all_jobs_to_their_ends(
    harness: ApiHarness, ann: Person, publisher: EventPublisher
) -> None:
    jobs = jobs_of(harness, ann)
    client = follow(ann, jobs)
    claims = [harness.claim(job, "generate") for job in jobs]
    for start in range(0, 20, 5):
        for claim in claims:
            publish_piece(publisher, claim, start, start + 5)
    end(harness, publisher, claims[0])
    client.until(lambda event: event.kind == "state" and event.data["data"]["finished_at"])
    publish_piece(publisher, claims[1], 20, 25)
    end(harness, publisher, claims[1])
    events = client.read_to_end()
    assert pieces(events, jobs[0]) == TEXT[:20]
    assert pieces(events, jobs[1]) == TEXT[:25]
    ends = [
        (event.data["job"], event.data["data"]["status"])
        for event in events
        if event.kind == "state" and event.data["data"]["finished_at"]
    ]
    assert ends == [(job, "succeeded") for job in jobs]
    texts = [event.data for event in events if event.kind == "text"]
    assert [(text["job"], text["data"]["text"]) for text in texts] == [(j, TEXT) for j in jobs]
    assert follow_status(ann, jobs, events[-1].id) == 204
    assert follow_status(ann, jobs, after=events[-1].id or "") == 204


def follow_status(person: Person, jobs: list[str], last_id: str | None = None, **query: str) -> int:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    path = "&".join([f"/v1/events?jobs={','.join(jobs)}", *(f"{k}={v}" for k, v in query.items())])
    return person.get(path, headers=headers).status_code


def test_a_resumed_stream_has_no_gap_and_no_repeat_in_any_job(
    harness: ApiHarness, ann: Person, publisher: EventPublisher
) -> None:
    jobs = jobs_of(harness, ann)
    claims = [harness.claim(job, "generate") for job in jobs]
    first = follow(ann, jobs)
    for start in range(0, 20, 5):
        for claim in claims:
            publish_piece(publisher, claim, start, start + 5)

    def is_third_of_second(event: Any) -> bool:
        data = event.data
        return bool(
            event.kind == "piece" and data["job"] == jobs[1] and data["data"]["offset"] == 10
        )

    last = first.until(is_third_of_second)
    first.close()
    kept = first.received[: first.received.index(last) + 1]
    for resumed in (follow(ann, jobs, last.id), follow(ann, jobs[::-1], after=last.id or "")):
        for claim in claims:
            publish_piece(publisher, claim, 20, 25)
        seen: set[str] = set()
        while seen < set(jobs):
            seen.add(resumed.until(lambda event: event.kind == "piece").data["job"])
        resumed.close()
    for claim in claims:
        end(harness, publisher, claim)
    events = [*kept, *follow(ann, jobs, last.id).read_to_end()]
    for job in jobs:
        assert TEXT[:25].startswith(pieces(events, job))
        texts = [event.data for event in events if event.kind == "text"]
        assert [each["data"]["text"] for each in texts if each["job"] == job] == [TEXT]


def test_a_stream_goes_on_with_other_jobs(
    harness: ApiHarness, ann: Person, publisher: EventPublisher
) -> None:
    jobs = jobs_of(harness, ann, 3)
    claims = [harness.claim(job, "generate") for job in jobs]
    first = follow(ann, jobs[:2])
    for claim in claims:
        publish_piece(publisher, claim, 0, 10)
    seen: set[str] = set()
    while seen < set(jobs[:2]):
        event = first.until(lambda event: event.kind == "piece")
        seen.add(event.data["job"])
    first.close()
    second = follow(ann, jobs[1:], after=event.id or "")
    for claim in claims:
        publish_piece(publisher, claim, 10, 20)
        end(harness, publisher, claim)
    events = second.read_to_end()
    assert pieces(events, jobs[2]) == TEXT[:20]
    assert {event.data["job"] for event in events} == set(jobs[1:])
    assert pieces([*first.received, *events], jobs[1]) == TEXT[:20]


def test_it_goes_on_from_the_rows_after_redis_lost_the_events(
    harness: ApiHarness, ann: Person, publisher: EventPublisher, redis_of_session: RedisServer
) -> None:
    jobs = jobs_of(harness, ann)
    claims = [harness.claim(job, "generate") for job in jobs]
    client = follow(ann, jobs)
    for claim in claims:
        publish_piece(publisher, claim, 0, 5)
        client.until(lambda event: event.kind == "piece")
    redis_of_session.flush()
    for claim in claims:
        harness.queue.succeed(claim, [record(0, TEXT, None)])
    texts = [e.data["data"]["text"] for e in client.read_to_end() if e.kind == "text"]
    assert texts == [TEXT, TEXT]


def test_anothers_job_is_refused_like_a_missing_one(
    harness: ApiHarness, ann: Person, bob: Person
) -> None:
    [job] = jobs_of(harness, ann, 1)
    [own] = jobs_of(harness, bob, 1)
    private = problem(bob.get(f"/v1/events?jobs={own},{job}"), 404)
    missing = problem(bob.get(f"/v1/events?jobs={own},{UNKNOWN_ID}"), 404)
    assert private == missing | {"detail": missing["detail"].replace(UNKNOWN_ID, job)}
    problem(harness.app.test_client().get(f"/v1/events?jobs={job}"), 401)


def test_wrong_ids_are_refused(harness: ApiHarness, ann: Person) -> None:
    [job] = jobs_of(harness, ann, 1)
    problem(ann.get("/v1/events"), 422)
    problem(ann.get("/v1/events?jobs=mine"), 404)
    problem(ann.get(f"/v1/events?jobs={job}&after=5"), 422)
    problem(ann.get(f"/v1/events?jobs={job}", headers={"Last-Event-ID": "5-6"}), 422)
    for jobs in ([job, job], [UNKNOWN_ID] * (MAX_FOLLOWED_JOBS + 1)):
        [error] = problem(ann.get(f"/v1/events?jobs={','.join(jobs)}"), 422)["errors"]
        assert error["field"] == "jobs"
        assert f"has {len(jobs)} ids" in error["message"]


def test_a_stream_of_several_jobs_takes_one_seat(harness: ApiHarness, ann: Person) -> None:
    jobs = jobs_of(harness, ann, 3)
    client = follow(ann, jobs)
    client.next()
    seats = harness.app.extensions["quire"].event_stream_seats
    assert sum(len(held) for held in seats._held.values()) == 1
    client.close()
