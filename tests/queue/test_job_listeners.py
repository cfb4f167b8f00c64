"""Listeners announce themselves, and only for them little things are published."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from shared import event_publisher, job_listeners
from shared.broker import redis_url as driver_url
from shared.event_publisher import EventPublisher
from shared.job_events import EventReader
from shared.job_listeners import AnnouncementListener
from tests.services.redis import redis_server
from tests.services.waiting import until


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(driver_url(redis_url)) as client:
        client.delete(job_listeners.KEY)
        yield client


@pytest.fixture
def lookup(client: redis.Redis) -> job_listeners.ListenerLookup:
    return job_listeners.ListenerLookup(client)


def test_an_announcement_is_found_until_it_expires(
    client: redis.Redis, lookup: job_listeners.ListenerLookup
) -> None:
    assert lookup.look() == frozenset()
    job_listeners.announce(client, "long")
    seconds, _ = client.time()
    client.zadd(job_listeners.KEY, {"short": seconds + 2})
    assert lookup.look() == {"long", "short"}
    until(lambda: lookup.look() == {"long"}, "the end of the short announcement")
    assert client.zcard(job_listeners.KEY) == 2, "it is only passed over"
    job_listeners.announce(client, "long")
    assert client.zcard(job_listeners.KEY) == 1


def test_the_set_itself_expires_with_the_last_listener(client: redis.Redis) -> None:
    job_listeners.announce(client, "a")
    assert 0 < client.ttl(job_listeners.KEY) <= job_listeners.EXPIRE_SECONDS


def test_a_wiped_server_finds_the_next_announcement(
    client: redis.Redis, lookup: job_listeners.ListenerLookup
) -> None:
    job_listeners.announce(client, "a")
    assert lookup.look() == {"a"}
    client.flushdb()
    assert lookup.look() == frozenset()
    job_listeners.announce(client, "a")
    assert lookup.look() == {"a"}


def test_rubbish_in_the_place_of_the_set_is_replaced(
    client: redis.Redis, lookup: job_listeners.ListenerLookup
) -> None:
    client.set(job_listeners.KEY, "no set")
    assert lookup.look() == frozenset()
    job_listeners.announce(client, "a")
    client.zadd(job_listeners.KEY, {b"\xff": time.time() + 60})
    assert lookup.look() == {"a", "\ufffd"}


def test_an_entry_for_listeners_is_sent_only_if_there_is_one(
    client: redis.Redis, redis_url: str
) -> None:
    publisher, reader = EventPublisher(redis_url), EventReader(redis_url, 1, 1.0)
    reader.announce("heard")
    for job_id in ("heard", "unheard"):
        client.delete(f"quire:job:{job_id}")
        publisher.publish_to_listeners(job_id, 1, "state", begins=True)
    publisher.publish("unheard", 1, "metrics", step=1)
    assert publisher.flush()
    assert [entry.kind for entry in reader.read_all("heard")] == ["state"]
    assert [entry.kind for entry in reader.read_all("unheard")] == ["metrics"]


def test_entries_for_which_nobody_is_known_to_listen_are_looked_up_together(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_publisher, "PATIENCE_SECONDS", 1.0)
    publisher, reader = EventPublisher(redis_url), EventReader(redis_url, 1, 1.0)
    looks: list[float] = []
    look = publisher._listeners.look

    def note_and_look() -> frozenset[str]:
        looks.append(time.monotonic())
        return look()

    monkeypatch.setattr(publisher._listeners, "look", note_and_look)
    jobs = [f"together-{number}" for number in range(5)]
    for job_id in jobs:
        client.delete(f"quire:job:{job_id}")
        reader.announce(job_id)
        publisher.publish_to_listeners(job_id, 1, "state", begins=True)
    assert publisher.flush()
    assert len(looks) == 1
    assert all(reader.read_all(job_id) for job_id in jobs)
    # The publisher knows the listeners now, and sends to them at once.
    began = time.monotonic()
    publisher.publish_to_listeners(jobs[0], 1, "state")
    assert publisher.flush()
    assert time.monotonic() - began < 0.9


def test_what_waits_for_company_is_sent_when_the_publisher_closes(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_publisher, "PATIENCE_SECONDS", 600.0)
    publisher, reader = EventPublisher(redis_url), EventReader(redis_url, 1, 1.0)
    client.delete("quire:job:closing")
    reader.announce("closing")
    publisher.publish_to_listeners("closing", 1, "state")
    publisher.close()
    assert [entry.kind for entry in reader.read_all("closing")] == ["state"]


def test_a_listener_that_came_before_the_entry_is_never_missed(
    client: redis.Redis, redis_url: str
) -> None:
    """However old the publisher's last look is: it looks again before it drops an entry."""
    publisher, reader = EventPublisher(redis_url), EventReader(redis_url, 1, 1.0)
    for number in range(50):
        job_id = f"job-{number}"
        client.delete(f"quire:job:{job_id}")
        publisher.listened()
        reader.announce(job_id)
        publisher.publish_to_listeners(job_id, 1, "state")
        assert publisher.flush()
        assert [entry.kind for entry in reader.read_all(job_id)] == ["state"]


def test_a_listener_is_noticed_soon(client: redis.Redis, redis_url: str) -> None:
    publisher, reader = EventPublisher(redis_url), EventReader(redis_url, 1, 1.0)
    assert publisher.listened() == frozenset()
    reader.announce("a")
    until(lambda: publisher.listened() == {"a"}, "the listener")


def test_without_a_server_nobody_listens(tmp_path: object) -> None:
    publisher = EventPublisher(f"unix://{tmp_path}/nobody.sock")
    for _ in range(3):
        publisher.publish_to_listeners("a", 1, "state")
        assert publisher.listened() == frozenset()
    assert publisher.flush()


def test_who_begins_to_listen_ends_the_wait_for_company(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_publisher, "PATIENCE_SECONDS", 600.0)
    publisher, reader = EventPublisher(redis_url), EventReader(redis_url, 1, 1.0)
    with closing(AnnouncementListener(redis_url, publisher.note_listener)) as announcements:
        announcements.start()
        until(lambda: announcements.is_listening, "the announcements are heard")
        for job_id in ("early", "late"):
            client.delete(f"quire:job:{job_id}")
        reader.announce("early")
        until(lambda: "early" in publisher._listened, "the early listener")
        publisher.publish_to_listeners("early", 1, "state")
        until(lambda: reader.read_all("early"), "an entry for who has listened already")
        publisher.publish_to_listeners("late", 1, "state")
        time.sleep(0.1)
        assert reader.read_all("late") == []
        reader.announce("late")
        until(lambda: reader.read_all("late"), "an entry for who begins to listen")


def test_announcements_are_heard_again_after_the_server_was_away() -> None:
    noted: list[str] = []
    with (
        redis_server() as server,
        closing(AnnouncementListener(server.url, noted.append)) as announcements,
    ):
        announcements.start()
        until(lambda: announcements.is_listening, "the announcements are heard")
        os.kill(server.pid, signal.SIGSTOP)
        until(lambda: not announcements.is_listening, "the loss is noticed")
        os.kill(server.pid, signal.SIGCONT)
        until(lambda: announcements.is_listening, "the announcements are heard again")
        EventReader(server.url, 1, 1.0).announce("a")
        until(lambda: noted == ["a"], "an announcement")


def test_a_worker_that_looks_for_nobody_keeps_few_announcements(redis_url: str) -> None:
    publisher = EventPublisher(redis_url)
    for number in range(2 * event_publisher.MAX_NOTED):
        publisher.note_listener(f"job-{number}")
    assert len(publisher._noted) == event_publisher.MAX_NOTED
    publisher.listened()
    until(lambda: not publisher._noted, "a look forgets them")
