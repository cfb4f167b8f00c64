"""Resumed event streams: after a break, a new attempt, or the loss of the events in Redis."""

from typing import Any

import pytest

from shared.event_publisher import EventPublisher
from tests.api.harness import ApiHarness, Person, record
from tests.api.sse import EventStreamClient, joined_pieces
from tests.api.test_events import TEXT, _short_intervals, complete, job, publish_piece, publisher
from tests.services.redis import RedisServer

__all__ = ["_short_intervals", "job", "publisher"]


def test_a_resumed_stream_has_no_gap_and_no_repeat(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher
) -> None:
    claim = harness.claim(job["id"], "generate")
    first = EventStreamClient(ann, job["id"])
    for start in range(0, 20, 5):
        publish_piece(publisher, claim, start, start + 5)
    last = first.until(lambda event: event.kind == "piece" and event.data["offset"] == 10)
    first.close()
    second = EventStreamClient(ann, job["id"], last.id)
    publish_piece(publisher, claim, 20, 25)
    second.until(lambda event: event.kind == "piece" and event.data["offset"] == 20)
    complete(harness, publisher, claim)
    kept = first.received[: first.received.index(last) + 1]
    assert joined_pieces([*kept, *second.read_to_end()]) == TEXT[:25]


def test_a_stream_resumed_after_a_new_attempt_has_no_repeat(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher
) -> None:
    claim = harness.claim(job["id"], "generate")
    first = EventStreamClient(ann, job["id"])
    publish_piece(publisher, claim, 0, 6)
    publish_piece(publisher, claim, 6, 12)
    last = first.until(lambda event: event.kind == "piece" and event.data["offset"] == 6)
    first.close()
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    publisher.publish(again.job_id, again.attempt, "state", begins=True)
    second = EventStreamClient(ann, job["id"], last.id)
    publish_piece(publisher, again, 0, 9)
    publish_piece(publisher, again, 9, 20)
    second.until(lambda event: event.kind == "piece")
    complete(harness, publisher, again)
    assert joined_pieces([*first.received, *second.read_to_end()]) == TEXT[:20]


def test_a_stream_resumed_after_the_end_stops_at_the_end(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher
) -> None:
    claim = harness.claim(job["id"], "generate")
    first = EventStreamClient(ann, job["id"])
    publish_piece(publisher, claim, 0, 6)
    last = first.until(lambda event: event.kind == "piece")
    first.close()
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    publisher.publish(again.job_id, again.attempt, "state", begins=True)
    publish_piece(publisher, again, 0, 20)
    complete(harness, publisher, again)
    events = EventStreamClient(ann, job["id"], last.id).read_to_end()
    assert [event.id for event in events[-2:]] == ["2-end1", "2-end"]
    assert [event.kind for event in events].count("text") == 1


def test_an_old_attempt_is_dropped_after_redis_lost_the_newer_one(
    harness: ApiHarness,
    ann: Person,
    job: Any,
    publisher: EventPublisher,
    redis_of_session: RedisServer,
) -> None:
    claim = harness.claim(job["id"], "generate")
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    publisher.publish(again.job_id, again.attempt, "state", begins=True)
    assert publisher.flush()
    client = EventStreamClient(ann, job["id"])
    client.until(lambda event: event.kind == "state")
    redis_of_session.flush()
    publisher.publish(claim.job_id, claim.attempt, "piece", position=0, offset=0, text="a zombie's")
    assert publisher.flush()
    late = EventStreamClient(ann, job["id"])
    publish_piece(publisher, again, 0, 5)
    for each_client in (client, late):
        each_client.until(lambda event: event.kind == "piece")
    complete(harness, publisher, again)
    for each_client in (client, late):
        assert joined_pieces(events := each_client.read_to_end()) == TEXT[:5]
        assert "zombie" not in str(events)


def test_a_stream_continues_from_the_rows_after_redis_lost_it(
    harness: ApiHarness,
    ann: Person,
    job: Any,
    publisher: EventPublisher,
    redis_of_session: RedisServer,
) -> None:
    claim = harness.claim(job["id"], "generate")
    client = EventStreamClient(ann, job["id"])
    publish_piece(publisher, claim, 0, 5)
    piece = client.until(lambda event: event.kind == "piece")
    redis_of_session.flush()
    # A client that resumes after a lost event gets everything again.
    other = EventStreamClient(ann, job["id"], piece.id)
    state = other.next()
    assert state is not None
    assert state.data["status"] == "running"
    publish_piece(publisher, claim, 5, 9)
    client.until(lambda event: event.kind == "piece" and event.data["offset"] == 5)
    redis_of_session.flush()
    harness.queue.succeed(claim, [record(0, TEXT, None)])
    for each_client in (client, other):
        text, last = each_client.read_to_end()[-2:]
        assert text.data["text"] == TEXT
        assert last.data["status"] == "succeeded"


def test_an_unpublished_end_is_found_in_the_row(
    harness: ApiHarness,
    ann: Person,
    job: Any,
    publisher: EventPublisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.operations.following.job_follower.SLOW_CHECK_SECONDS", 0.5)
    claim = harness.claim(job["id"], "generate")
    client = EventStreamClient(ann, job["id"])
    publish_piece(publisher, claim, 0, 5)
    client.until(lambda event: event.kind == "piece")
    harness.queue.succeed(claim, [record(0, TEXT, None)])
    assert client.read_to_end()[-1].data["status"] == "succeeded"
