"""Event streams: the rows first, then live events without gap or repeat, then the end."""

from typing import Any

import pytest

from shared.event_publisher import EventPublisher
from shared.queue.types import Claim
from shared.settings import Settings
from tests.api.harness import ApiHarness, Person, record
from tests.api.sse import EventStreamClient, joined_pieces
from tests.services.redis import RedisServer

TEXT = "and the sea was calm, and the moon was full"


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the heartbeat, so that the server notices a closed stream soon."""
    monkeypatch.setattr("api.operations.following.event_stream.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.job_follower.BLOCK_SECONDS", 0.3)
    monkeypatch.setattr("api.operations.following.event_stream.HEARTBEAT_SECONDS", 0.2)


@pytest.fixture
def publisher(settings: Settings) -> EventPublisher:
    return EventPublisher(settings.broker)


@pytest.fixture
def job(harness: ApiHarness, ann: Person) -> Any:
    model = harness.model(ann)
    return ann.post("/v1/generate", {"model": model["id"], "length": len(TEXT)}).json


def publish_piece(publisher: EventPublisher, claim: Claim, start: int, stop: int) -> None:
    """Publish a piece as a worker does between two blocks."""
    publisher.publish(
        claim.job_id, claim.attempt, "piece", position=0, offset=start, text=TEXT[start:stop]
    )
    assert publisher.flush()


def complete(
    harness: ApiHarness, publisher: EventPublisher, claim: Claim, text: str = TEXT
) -> None:
    harness.queue.succeed(claim, [record(0, text, None)])
    publisher.publish(claim.job_id, claim.attempt, "state")
    assert publisher.flush()


def test_a_stream_follows_a_job_to_its_end(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher
) -> None:
    client = EventStreamClient(ann, job["id"])
    first = client.next()
    assert first is not None
    assert first.kind == "state"
    assert first.data["status"] == "queued"
    assert first.data["queue"]["position"] == 1
    claim = harness.claim(job["id"], "generate")
    publisher.publish(claim.job_id, claim.attempt, "state")
    running = client.until(lambda event: event.kind == "state")
    assert (running.data["status"], running.data["attempt"]) == ("running", 1)
    publish_piece(publisher, claim, 0, 10)
    assert client.until(lambda event: event.kind == "piece").data["text"] == TEXT[:10]
    publish_piece(publisher, claim, 10, 20)
    complete(harness, publisher, claim)
    events = client.read_to_end()
    assert joined_pieces(events) == TEXT[:20]
    text, last = events[-2:]
    assert text.kind == "text"
    assert text.data["text"] == TEXT
    assert text.data["finish_reason"] == "length"
    assert (last.kind, last.data["status"]) == ("state", "succeeded")
    assert [text.id, last.id] == ["1-end1", "1-end"]


def test_a_late_client_gets_the_rows_and_then_the_live_events(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher
) -> None:
    claim = harness.claim(job["id"], "generate")
    publish_piece(publisher, claim, 0, 7)
    publish_piece(publisher, claim, 7, 30)
    client = EventStreamClient(ann, job["id"])
    client.until(lambda event: event.kind == "piece" and event.data["offset"] == 7)
    assert [event.kind for event in client.received] == ["state", "piece", "piece"]
    complete(harness, publisher, claim)
    assert joined_pieces(client.read_to_end()) == TEXT[:30]


def test_a_new_attempt_continues_the_text_and_late_pieces_of_the_old_one_are_dropped(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher
) -> None:
    claim = harness.claim(job["id"], "generate")
    client = EventStreamClient(ann, job["id"])
    publish_piece(publisher, claim, 0, 12)
    client.until(lambda event: event.kind == "piece")
    harness.queue.release(claim)
    again = harness.claim(job["id"], "generate")
    publisher.publish(again.job_id, again.attempt, "state")
    # The other worker's clock may be behind.
    publish_piece(EventPublisher(harness.queue.settings.broker), again, 0, 5)
    publisher.publish(
        claim.job_id, claim.attempt, "piece", position=0, offset=12, text="a zombie's"
    )
    assert publisher.flush()
    publish_piece(publisher, again, 5, 20)
    complete(harness, publisher, again)
    events = client.read_to_end()
    assert joined_pieces(events) == TEXT[:20]
    assert "zombie" not in str(events)
    assert [e.data["attempt"] for e in events if e.kind == "state"] == [1, 2, 2]


def test_an_ended_job_is_sent_once_from_the_rows(
    harness: ApiHarness,
    ann: Person,
    job: Any,
    publisher: EventPublisher,
    redis_of_session: RedisServer,
) -> None:
    harness.write(job, ["one", "two"])
    redis_of_session.flush()
    events = EventStreamClient(ann, job["id"]).read_to_end()
    assert [(event.kind, event.id) for event in events] == [
        ("text", "1-end1"),
        ("text", "1-end2"),
        ("state", "1-end"),
    ]
    assert [event.data["text"] for event in events[:2]] == ["one", "two"]
    rest = EventStreamClient(ann, job["id"], "1-end1").read_to_end()
    assert [event.id for event in rest] == ["1-end2", "1-end"]
    path = f"/v1/jobs/{job['id']}/events"
    assert ann.get(path, headers={"Last-Event-ID": "1-end"}).status_code == 204


def test_without_redis_the_rows_are_sent(
    harness: ApiHarness, ann: Person, without_redis: ApiHarness
) -> None:
    model = harness.model(ann)
    job = ann.post("/v1/generate", {"model": model["id"]}).json
    there = Person(without_redis.app.test_client(), "ann", ann.key)
    client = EventStreamClient(there, job["id"])
    queued = client.next()
    assert queued is not None
    assert queued.data["status"] == "queued"
    harness.write(job, [TEXT])
    events = client.read_to_end()
    assert events[-2].data["text"] == TEXT
    assert events[-1].data["status"] == "succeeded"


def test_a_training_sends_its_curves_and_texts(
    harness: ApiHarness, ann: Person, publisher: EventPublisher
) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    harness.progress(claim, 100)
    early = [record(0, "early", None, requested=False, step=100, epoch=1.0)]
    harness.queue.record_texts(claim, early)
    client = EventStreamClient(ann, job["id"])
    text = client.until(lambda event: event.kind == "text")
    assert client.received[0].data["progress"]["step"] == 100
    assert (text.data["text"], text.data["step"]) == ("early", 100)
    harness.progress(claim, 200)
    publisher.publish(claim.job_id, claim.attempt, "metrics", step=200, loss=1.5)
    metrics = client.until(lambda event: event.kind == "metrics")
    assert metrics.data == {"step": 200, "loss": 1.5}
    late = EventStreamClient(ann, job["id"])
    assert late.until(lambda event: event.kind == "metrics") == metrics
    assert [event.kind for event in late.received] == ["state", "text", "metrics"]
    late.close()
    later = [record(i, f"later {i}", None, requested=False, step=200, epoch=2.0) for i in (0, 1)]
    harness.queue.record_texts(claim, later)
    publisher.publish(claim.job_id, claim.attempt, "texts", step=200)
    texts = [client.until(lambda event: event.kind == "text") for _ in range(2)]
    assert [text.data["text"] for text in texts] == ["later 0", "later 1"]
    assert [text.id is None for text in texts] == [True, False]
    complete(harness, publisher, claim)
    assert client.read_to_end()[-1].data["status"] == "succeeded"


def test_the_end_of_a_training_is_sent_once_and_completely(
    harness: ApiHarness, ann: Person
) -> None:
    job = ann.train(ann.upload())
    claim = harness.claim(job["id"])
    texts = [record(i, f"text {i}", None, requested=False, step=100, epoch=1.0) for i in range(8)]
    harness.queue.record_texts(claim, texts)
    harness.queue.succeed(claim)
    events = EventStreamClient(ann, job["id"]).read_to_end()
    assert [event.id for event in events] == [*(f"1-end{i}" for i in range(1, 9)), "1-end"]
    cut_off = EventStreamClient(ann, job["id"], events[4].id)
    assert cut_off.read_to_end() == events[5:]
    path = f"/v1/jobs/{job['id']}/events"
    assert ann.get(path, headers={"Last-Event-ID": "1-end"}).status_code == 204


@pytest.mark.parametrize("what", ["cancel", "pause"])
def test_a_request_of_the_owner_is_sent_at_once(
    harness: ApiHarness, ann: Person, job: Any, what: str
) -> None:
    client = EventStreamClient(ann, job["id"])
    client.next()
    assert ann.post(f"/v1/jobs/{job['id']}/{what}").status_code == 202
    told = client.until(lambda event: event.kind == "state")
    assert told.data["status"] == {"cancel": "cancelled", "pause": "paused"}[what]
    client.close()
