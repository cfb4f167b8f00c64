"""Live events of running jobs: one bounded Redis Stream per job, which expires after an hour.

This module reads them; `shared.event_publisher` publishes them. Like wakes, events are hints. The
database rows keep states, loss curves and finished texts, and whoever follows a job reads the rows
again from time to time. An entry's id is `attempt-offset`. Redis rejects an id that is not greater
than the last one, so late events from the worker of an older attempt never enter the stream.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared import job_listeners
from shared.broker import CONNECT_TIMEOUT_SECONDS, redis_url

#: `state`: the job's row has changed; `begins` marks a start. `piece`: part of a text, with the
#: text's `position` in the job, the `offset` in characters and the `text`; the first one also has
#: the `prompt`. `metrics`: a point of a loss curve. `texts`: the texts of a training's `step` are
#: stored. `unreadable`: an entry that Quire did not write; a reader passes over it.
EntryKind = Literal["state", "piece", "metrics", "texts", "unreadable"]
#: The fields that a reader needs of each kind.
_NEEDED: dict[str, dict[str, type]] = {
    "state": {},
    "piece": {"position": int, "offset": int, "text": str},
    "metrics": {"step": int},
    "texts": {"step": int},
}

#: The id before the first entry of a stream.
BEGINNING = "0-0"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a job's stream.

    Attributes:
        id: ``attempt-offset``; ordered.
        kind: What happened.
        data: The fields that `EntryKind` describes.
    """

    id: str
    kind: EntryKind
    data: dict[str, Any]


def sort_key(entry_id: str) -> tuple[int, int]:
    """Split an entry's id into the numbers that order it: attempt and offset."""
    attempt, _, offset = entry_id.partition("-")
    return int(attempt), int(offset)


def stream_key(job_id: str) -> str:
    """Name a job's stream."""
    return f"quire:job:{job_id}"


class EventReader:
    """Reads job streams. One per process; each reading thread takes a connection of its own.

    Args:
        url: A Redis address in either spelling.
        max_readers: The most threads that read at the same time.
        block_seconds: The longest wait that `read` is asked for.
    """

    def __init__(self, url: str, max_readers: int, block_seconds: float) -> None:
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # A frozen server must not hold a reader for ever.
            socket_timeout=block_seconds + CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=max_readers + 1,
        )

    def announce(self, job_id: str) -> None:
        """Say that somebody listens to a job, before its row and its entries are read.

        It holds for `job_listeners.EXPIRE_SECONDS`.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        job_listeners.announce(self._redis, job_id)

    def read_all(self, job_id: str) -> list[Entry]:
        """Return all stored entries of a job, in order.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        entries: Any = self._redis.xrange(stream_key(job_id))
        return _parse(entries)

    def read(self, job_id: str, after: str, seconds: float) -> list[Entry]:
        """Return the entries after an id; wait up to `seconds` if there are none yet.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        return self.read_many({job_id: after}, seconds).get(job_id, [])

    def read_many(self, after: Mapping[str, str], seconds: float) -> dict[str, list[Entry]]:
        """Return the entries of several jobs; wait up to `seconds` if none has any yet.

        Args:
            after: The id after which each job is read, by job.
            seconds: The longest wait.

        Returns:
            The entries of those jobs that have some, by job.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        jobs = {stream_key(job_id).encode(): job_id for job_id in after}
        positions: Any = {stream_key(job_id): last for job_id, last in after.items()}
        streams: Any = self._redis.xread(positions, block=max(1, round(seconds * 1000)))
        return {jobs[key]: _parse(entries) for key, entries in streams or ()}

    def close(self) -> None:
        """Close the connections. A reader that is used again opens new ones."""
        self._redis.close()

    def last_id(self, job_id: str) -> str:
        """Return the id of the last entry, or `BEGINNING` if the stream is gone.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        entries: Any = self._redis.xrevrange(stream_key(job_id), count=1)
        return entries[0][0].decode() if entries else BEGINNING


def _parse(entries: Iterable[Any]) -> list[Entry]:
    return [_parse_entry(entry_id.decode(), fields) for entry_id, fields in entries]


def _parse_entry(entry_id: str, fields: Any) -> Entry:
    try:
        kind, document = fields[b"kind"].decode(), fields[b"data"].decode()
        data = json.loads(document, parse_constant=_refuse_constant)
        needed = _NEEDED[kind].items()
        if not all(type(data[name]) is type_ for name, type_ in needed) or not _is_sendable(data):
            raise ValueError(kind)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        log.warning("event_unreadable", entry=entry_id, reason=f"{type(error).__name__}: {error}")
        return Entry(entry_id, "unreadable", {})
    return Entry(entry_id, kind, data)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_sendable(data: Any) -> bool:
    """Whether a listener can be sent the fields: lone surrogates have no encoding."""
    prompt = data.get("prompt", "") if isinstance(data, dict) else None
    if not isinstance(prompt, str):
        return False
    json.dumps(data, ensure_ascii=False).encode()  # an error here is a ValueError
    return all(data[name] >= 0 for name in ("position", "offset", "step") if name in data)
