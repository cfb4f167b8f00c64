"""Redis: reachable, and holding nothing but what Quire put there."""

import json
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from quire.server import embedded_redis
from quire.server.data_dir import find_lock_holder
from quire.server.doctor.findings import Finding, error, ok, warning
from shared.broker import MAX_WAITING_WAKES, WAKE_TASK, redis_url
from shared.settings import Settings
from shared.tables import KINDS

ANSWER_SECONDS = 5.0
#: The beginnings of the keys of Quire and of Celery's transport.
KNOWN_KEYS = ("quire:", "_kombu", "unacked", *KINDS)
KEYS_LOOKED_AT = 10_000


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Look at the Redis server."""
    url = _url(settings)
    if url is None:
        yield ok("redis", "none is set: `quire up` starts its own")
        return
    client = redis.Redis.from_url(
        redis_url(url),
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    with client:
        try:
            yield from _look(client)
        except redis.RedisError as reason:
            yield error(
                "redis",
                f"it can't be used: {reason}. Jobs are accepted, and start seconds later",
                "start it, or correct REDIS_URL and its password",
            )


def _url(settings: Settings) -> str | None:
    if settings.redis_url is not None:
        return settings.broker
    if find_lock_holder(settings.data_dir) is None:
        return None
    return embedded_redis.prepare(settings.data_dir, settings.runtime_dir).url


def _look(client: redis.Redis) -> Iterator[Finding]:
    info: Any = client.info()
    version = info.get("valkey_version") or info.get("redis_version")
    kept = "kept on its disk" if info.get("aof_enabled") else "not kept on its disk"
    detail = f"{version}, {info.get('used_memory_human')} used, {kept} (it holds hints only)"
    if info.get("aof_enabled") and info.get("aof_last_write_status") == "err":
        yield error("redis", f"{detail}; it can't write to its disk", "free its disk")
    elif info.get("maxmemory_policy") not in (None, "noeviction"):
        yield warning(
            "redis",
            f"{detail}; it drops keys when it is full ({info['maxmemory_policy']})",
            "set maxmemory-policy to noeviction",
        )
    else:
        yield ok("redis", detail)
    yield from _messages(client)
    yield from _keys(client)


def _messages(client: redis.Redis) -> Iterator[Finding]:
    alien = waiting = 0
    for kind in KINDS:
        messages: Any = client.lrange(kind, 0, -1)
        waiting += len(messages)
        alien += sum(not _is_wake(message) for message in messages)
        if len(messages) > MAX_WAITING_WAKES:
            yield warning(
                "messages",
                f"{len(messages)} messages wait in {kind}, and Quire keeps {MAX_WAITING_WAKES}: "
                "nobody takes them",
                f"start a worker; or delete them (redis-cli DEL {kind}): the rows are the truth",
            )
    if alien:
        yield warning(
            "messages",
            f"{alien} messages are not Quire's: another program sends into its lists",
            "give Quire a Redis database of its own (redis://…/1)",
        )
    else:
        yield ok("messages", f"{waiting} wakes wait")


def _is_wake(message: bytes) -> bool:
    try:
        return bool(json.loads(message)["headers"]["task"] == WAKE_TASK)
    except (ValueError, KeyError, TypeError):
        return False


def _keys(client: redis.Redis) -> Iterator[Finding]:
    alien: list[str] = []
    for number, key in enumerate(client.scan_iter(count=1000)):
        if number >= KEYS_LOOKED_AT:
            break
        name = key.decode(errors="replace")
        if not name.startswith(KNOWN_KEYS):
            alien.append(name)
    if alien:
        yield warning(
            "redis",
            f"{len(alien)} keys are not Quire's, such as {sorted(alien)[0]!r}",
            "give Quire a Redis database of its own (redis://…/1)",
        )
