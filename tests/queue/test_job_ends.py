"""Ends of runs on their channel: published, heard, lost, and heard again."""

import math
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis

from shared.job_ends import (
    MAX_END_BYTES,
    MAX_MESSAGE_BYTES,
    SUBJECT,
    EndWaiter,
    JobEndListener,
    JobEndPublisher,
    messages,
)
from shared.queue.types import JobEnd, StoredText
from shared.subscription import channel
from tests.services.redis import RedisServer, redis_server
from tests.services.waiting import until

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


def stored_text(**values: object) -> StoredText:
    fields: dict[str, object] = {
        "id": "a", "job_id": "b", "user_id": "c", "model_id": None, "created_at": NOW,
        "position": 0, "prompt": "«né", "text": "e»\n", "temperature": 0.1, "top_k": None,
        "top_p": None, "seed": 2**62, "finish_reason": "length", "checkpoint_id": None,
    }  # fmt: skip
    return StoredText(**(fields | values))  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of this test's own, to be stopped and wiped."""
    with redis_server() as server:
        yield server


def heard(waiter: EndWaiter) -> JobEnd:
    def look() -> JobEnd | None:
        waiter.wait(0.05)
        return waiter.end

    return until(look, "an end")


def listening(listener: JobEndListener) -> None:
    until(lambda: listener.is_listening, "the listener listens")


def test_an_end_arrives_as_it_was_published(redis_url: str) -> None:
    texts = [
        stored_text(),
        stored_text(position=1, logprobs=[-0.5, -1.25], mean_logprob=-1 / 3, known_grams=2 / 3),
    ]
    listener, publisher = JobEndListener(redis_url), JobEndPublisher(redis_url)
    waiter = listener.expect("b")
    listening(listener)
    publisher.publish([JobEnd("other", 1), JobEnd("b", 1, texts)])
    assert heard(waiter) == JobEnd("b", 1, texts)


def test_all_who_wait_for_a_job_hear_its_end_and_nobody_else(redis_url: str) -> None:
    listener, publisher = JobEndListener(redis_url), JobEndPublisher(redis_url)
    waiters = [listener.expect("a"), listener.expect("a")]
    other, gone = listener.expect("b"), listener.expect("a")
    listener.forget(gone)
    listener.forget(gone)
    listening(listener)
    publisher.publish([JobEnd("a", 1)])
    for waiter in waiters:
        heard(waiter)
    assert other.end is None
    assert gone.end is None


def test_two_processes_hear_each_end(redis_url: str) -> None:
    listeners = [JobEndListener(redis_url), JobEndListener(redis_url)]
    waiters = [listener.expect("a") for listener in listeners]
    for listener in listeners:
        listening(listener)
    JobEndPublisher(redis_url).publish([JobEnd("a", 1)])
    for waiter in waiters:
        assert heard(waiter).attempt == 1


def test_an_end_that_is_too_long_or_has_no_encoding_is_published_without_texts() -> None:
    ends = [
        JobEnd("long", 1, [stored_text(text="x" * MAX_END_BYTES)]),
        JobEnd("odd", 1, [stored_text(text="\ud800")]),
    ]
    for end in ends:
        [message] = messages([end])
        assert b'"texts":null' in message


def test_many_ends_make_messages_of_a_bounded_size() -> None:
    end = JobEnd("a", 1, [stored_text(text="x" * (MAX_END_BYTES // 2))])
    found = list(messages([end] * 40))
    assert len(found) == math.ceil(40 / (MAX_MESSAGE_BYTES // len(next(messages([end])))))
    assert all(len(message) <= MAX_MESSAGE_BYTES + MAX_END_BYTES for message in found)
    assert list(messages([])) == []


def test_what_quire_did_not_publish_is_passed_over(redis_url: str) -> None:
    listener = JobEndListener(redis_url)
    waiter = listener.expect("a")
    listening(listener)
    with redis.Redis.from_url(redis_url) as client:
        for nonsense in (b"", b"{}", b"[1]", b'[{"job_id": "a"}]', b"\xff", b"[" * 100_000):
            client.publish(channel(client, SUBJECT), nonsense)
    JobEndPublisher(redis_url).publish([JobEnd("a", 7)])
    assert heard(waiter).attempt == 7


def test_a_frozen_server_is_noticed_and_heard_again(server: RedisServer) -> None:
    listener, publisher = JobEndListener(server.url), JobEndPublisher(server.url)
    waiter = listener.expect("a")
    listening(listener)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        until(lambda: not listener.is_listening, "the listener gives up")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    listening(listener)
    publisher.publish([JobEnd("a", 1)])
    assert heard(waiter) == JobEnd("a", 1)


def test_whoever_waits_is_woken_when_the_connection_is_lost_and_when_it_is_back(
    server: RedisServer,
) -> None:
    listener = JobEndListener(server.url)
    waiter = listener.expect("a")
    listening(listener)
    waiter.wait(5)
    with redis.Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="pubsub")
    began = datetime.now(UTC)
    waiter.wait(30)
    assert datetime.now(UTC) - began < timedelta(seconds=25), "nobody woke it"
    listening(listener)


def test_a_wiped_server_loses_no_later_end(server: RedisServer) -> None:
    listener, publisher = JobEndListener(server.url), JobEndPublisher(server.url)
    waiter = listener.expect("a")
    listening(listener)
    server.flush()
    publisher.publish([JobEnd("a", 1)])
    assert heard(waiter) == JobEnd("a", 1)


def test_publishing_waits_for_nothing_while_the_server_is_frozen(server: RedisServer) -> None:
    publisher = JobEndPublisher(server.url)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            publisher.publish([JobEnd("a", 1)])
        assert not publisher.flush(0.1)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    until(lambda: publisher.flush(0.1), "the ends are sent or dropped")
