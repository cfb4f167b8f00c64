"""Event streams that are refused, bounded, or ended: seats, rights, and rubbish in Redis."""

from typing import Any

import pytest
import redis

from api.app import create_app
from shared.broker import Broker
from shared.event_publisher import EventPublisher
from shared.job_events import EventReader, stream_key
from shared.settings import Settings
from tests.api.harness import ApiHarness, Person, expire, problem
from tests.api.sse import EventStreamClient
from tests.api.test_events import TEXT, _short_intervals, complete, job, publish_piece, publisher

__all__ = ["_short_intervals", "job", "publisher"]


def test_too_many_streams_are_refused_until_one_closes(
    settings: Settings, harness: ApiHarness, ann: Person, job: Any
) -> None:
    few = settings.model_copy(update={"max_listeners": 1, "api_threads": 2})
    app = create_app(few, harness.engine, Broker(few.broker))
    there = Person(app.test_client(), "ann", ann.key)
    listeners = EventStreamClient(there, job["id"])
    path = f"/v1/jobs/{job['id']}/events"
    refused = there.get(path)
    assert problem(refused, 503)["type"] == "/problems/too-many-listeners"
    assert int(refused.headers["Retry-After"]) > 0
    # A stream does not count as one of the two concurrent requests.
    assert there.get("/v1/jobs").status_code == 200
    listeners.close()
    again = EventStreamClient(there, job["id"])
    again.close()


def test_other_users_can_not_follow_and_an_invalid_event_id_is_named(
    ann: Person, bob: Person, job: Any
) -> None:
    path = f"/v1/jobs/{job['id']}/events"
    problem(bob.get(path), 404)
    body = problem(ann.get(path, headers={"Last-Event-ID": "yesterday"}), 422)
    assert body["errors"][0]["field"] == "Last-Event-ID"
    assert body["errors"][0]["value"] == "yesterday"


def test_a_stream_is_bounded_and_expires(settings: Settings, redis_url: str) -> None:
    publisher, listener = EventPublisher(settings.broker), EventReader(settings.broker, 2, 1.0)
    for i in range(4_000):
        publisher.publish("job", 1, "piece", position=0, offset=i, text="x")
    assert publisher.flush(20)
    assert 2_000 <= len(listener.read_all("job")) < 2_200
    assert 0 < publisher._redis.ttl(stream_key("job")) <= 3_600


def test_rubbish_in_the_stream_of_a_job_is_passed_over(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher, redis_url: str
) -> None:
    claim = harness.claim(job["id"], "generate")
    server = redis.Redis.from_url(redis_url)
    key = stream_key(job["id"])
    for fields in ({"kind": b"\xff"}, {"kind": "piece", "data": "{}"}, {"kind": "x", "data": "[]"}):
        server.xadd(key, fields, id="1-*")
    client = EventStreamClient(ann, job["id"])
    client.until(lambda event: event.kind == "state")
    server.xadd(key, {"kind": "texts", "data": '{"step": "1"}'}, id="1-*")
    publish_piece(publisher, claim, 0, 10)
    assert client.until(lambda event: event.kind == "piece").data["text"] == TEXT[:10]
    server.xadd(key, {"rubbish": b"\xff"}, id="1-*")
    complete(harness, publisher, claim)
    assert client.read_to_end()[-1].data["status"] == "succeeded"


@pytest.mark.parametrize("way", ["the key is revoked", "the key expires", "the user is disabled"])
def test_a_stream_ends_with_the_right_to_it(
    harness: ApiHarness, ann: Person, job: Any, publisher: EventPublisher, way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("api.operations.following.job_follower.SLOW_CHECK_SECONDS", 0.3)
    admin = harness.person("root", "admin")
    claim = harness.claim(job["id"], "generate")
    client = EventStreamClient(ann, job["id"])
    client.until(lambda event: event.kind == "state")
    if way == "the key is revoked":
        assert admin.delete(f"/v1/keys/{ann.key.split('_')[1]}").status_code == 204
    elif way == "the key expires":
        expire(harness, ann)
    else:
        assert admin.patch("/v1/users/ann", {"disabled": True}).status_code == 200
    # Pieces that come without a pause do not put the look off.
    for start in range(0, 10):
        publish_piece(publisher, claim, start, start + 1)
    last = client.read_to_end()[-1]
    assert last.kind == "closed"
    assert ("expired at" if way == "the key expires" else "revoked") in last.data["reason"]
