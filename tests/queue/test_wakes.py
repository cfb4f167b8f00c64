"""Commit, then wake; and a wake that can't be sent is no reason to refuse a job."""

import json
from pathlib import Path

import redis

from shared import broker
from shared.broker import Broker
from tests.queue.conftest import World


def test_a_wake_carries_the_job_s_id_and_lies_in_its_kind_s_queue(redis_url: str) -> None:
    client = redis.Redis.from_url(broker.redis_url(redis_url))
    client.flushall()
    assert Broker(redis_url).wake("generate", "some-job") is True
    assert client.llen("train") == 0
    [message] = client.lrange("generate", 0, -1)
    assert json.loads(message)["headers"]["id"] == "some-job"
    client.close()


def test_a_wake_sent_thrice_or_never_changes_no_row(world: World, redis_url: str) -> None:
    sender = Broker(redis_url)
    first, second = world.submit(count=2)
    for _ in range(3):
        sender.wake("train", first)
    claims = world.claim(limit=9)
    assert [claim.job_id for claim in claims] == [first, second]
    assert [claim.attempt for claim in claims] == [1, 1]
    assert world.claim(limit=9) == []


def test_without_a_broker_the_wake_is_refused_soon_and_the_job_is_queued(
    world: World, tmp_path: Path
) -> None:
    [job_id] = world.submit()
    assert Broker(f"unix://{tmp_path}/nobody.sock").wake("train", job_id) is False
    assert world.job(job_id).status == "queued"


def test_an_address_is_spelled_for_each_reader() -> None:
    ours = "unix://:p%40ss@/run/redis.sock?db=2"
    theirs = "redis+socket://:p%40ss@/run/redis.sock?virtual_host=2"
    assert broker.celery_url(ours) == theirs
    assert broker.redis_url(theirs) == ours
    assert broker.celery_url(theirs) == theirs
    plain = "redis://h:6379/1"
    assert broker.redis_url(plain) == broker.celery_url(plain) == plain
