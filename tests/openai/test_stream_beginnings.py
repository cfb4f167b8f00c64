"""How a stream begins: its listener is announced before its job is committed."""

from typing import Any

import pytest
from sqlalchemy import select

from api.services import EXTENSION
from shared.database import reading
from shared.event_publisher import EventPublisher
from shared.tables import Job
from tests.api.harness import ApiHarness, Person, record
from tests.openai.calls import completions, in_background, queued
from tests.openai.streams import TEXT, parts, write

STREAM = {"model": "orwell", "prompt": "It ", "stream": True}


def test_a_new_text_is_announced_before_its_job_is_committed(
    harness: ApiHarness,
    ann: Person,
    model: Any,
    publisher: EventPublisher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = harness.app.extensions[EXTENSION].event_reader
    announce = reader.announce
    announced: dict[str, str | None] = {}

    def look_and_announce(job_id: str) -> None:
        with reading(harness.engine) as connection:
            found = connection.scalar(select(Job.id).where(Job.id == job_id))
        announced.setdefault(job_id, found)
        announce(job_id)

    monkeypatch.setattr(reader, "announce", look_and_announce)
    with in_background(completions, ann, **STREAM) as future:
        [job] = queued(ann)
        write(harness, publisher, job)
    assert parts(future.result().text) == [TEXT]
    assert announced == {job["id"]: None}


def test_a_worker_publishes_the_first_piece_of_a_new_text(
    harness: ApiHarness, ann: Person, model: Any, publisher: EventPublisher
) -> None:
    """Its first look finds the listener. That the run begins is not told."""
    with in_background(completions, ann, **STREAM) as future:
        [job] = queued(ann)
        place = {"position": 0, "offset": 0, "prompt": "It "}
        publisher.publish_to_listeners(job["id"], 1, "state", begins=True)
        publisher.publish_to_listeners(job["id"], 1, "piece", text=TEXT[:7], **place)
        assert publisher.flush()
        write(harness, publisher, job, [(0, 7, TEXT[7:12])])
    assert parts(future.result().text) == [TEXT[:7], TEXT[7:12], TEXT[12:]]


def test_a_stream_begins_while_redis_is_away(
    harness: ApiHarness,
    ann: Person,
    model: Any,
    without_redis: ApiHarness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its listener can't be announced, so that the rows tell all of it."""
    monkeypatch.setattr("api.operations.following.job_follower.BLOCK_SECONDS", 0.1)
    there = Person(without_redis.app.test_client(), "ann", ann.key)
    with in_background(completions, there, **STREAM) as future:
        [job] = queued(ann)
        harness.queue.succeed(harness.claim(job["id"], "generate"), [record(0, TEXT, None)])
    assert parts(future.result().text) == [TEXT]
