"""Wakes follow the commit, and a job is queued even if its wake can't be sent."""

import json
from pathlib import Path

import redis

from shared import broker
from shared.broker import Broker
from tests.queue.conftest import QueueHarness


def test_a_wake_carries_the_job_s_id_in_the_queue_of_its_kind(redis_url: str) -> None:
    client = redis.Redis.from_url(broker.redis_url(redis_url))
    client.flushall()
    assert Broker(redis_url).wake("generate", "some-job") is True
    assert client.llen("train") == 0
    [message] = client.lrange("generate", 0, -1)
    assert json.loads(message)["headers"]["id"] == "some-job"
    client.close()


def test_a_wake_sent_thrice_or_never_changes_no_row(harness: QueueHarness, redis_url: str) -> None:
    sender = Broker(redis_url)
    first, second = harness.submit(count=2)
    for _ in range(3):
        sender.wake("train", first)
    claims = harness.claim(limit=9)
    assert [claim.job_id for claim in claims] == [first, second]
    assert [claim.attempt for claim in claims] == [1, 1]
    assert harness.claim(limit=9) == []


def test_without_a_broker_the_wake_fails_soon_and_the_job_is_queued(
    harness: QueueHarness, tmp_path: Path
) -> None:
    [job_id] = harness.submit()
    assert Broker(f"unix://{tmp_path}/nobody.sock").wake("train", job_id) is False
    assert harness.job(job_id).status == "queued"


def test_broker_addresses_are_written_for_each_library() -> None:
    ours = "unix://:p%40ss@/run/redis.sock?db=2"
    theirs = "redis+socket://:p%40ss@/run/redis.sock?virtual_host=2"
    assert broker.celery_url(ours) == theirs
    assert broker.redis_url(theirs) == ours
    assert broker.celery_url(theirs) == theirs
    plain = "redis://h:6379/1"
    assert broker.redis_url(plain) == broker.celery_url(plain) == plain
