"""Live events of running jobs: one bounded Redis Stream per job, which expires after an hour.

Like wakes, events are hints. The database rows keep states, loss curves and finished texts, and
whoever follows a job reads the rows again from time to time. An entry's id is `attempt-offset`.
Redis rejects an id that is not greater than the last one, so late events from the worker of an
older attempt never enter the stream.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

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

#: Entries kept per job. Approximate, since Redis drops whole blocks.
MAX_ENTRIES = 2_000
EXPIRE_SECONDS = 3600
#: Entries that wait while Redis is slow; the oldest is dropped first.
MAX_PENDING = 10_000
#: Entries in one round trip.
BATCH_SIZE = 200
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


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entry that is not sent yet."""

    job_id: str
    attempt: int
    offset: int
    kind: EntryKind
    data: dict[str, Any]

    @property
    def fields(self) -> Any:
        """The entry's fields, as Redis stores them."""
        return {"kind": self.kind, "data": json.dumps(self.data, ensure_ascii=False)}


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


class EventPublisher:
    """Sends entries in a background thread, so that callers never wait for Redis.

    Args:
        url: A Redis address in either spelling.
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._pending: deque[_Pending] = deque(maxlen=MAX_PENDING)
        self._offset = 0
        self._not_empty = threading.Condition()
        self._sending = False
        self._unreachable = False
        self._thread: threading.Thread | None = None

    def publish(self, job_id: str, attempt: int, kind: EntryKind, **data: Any) -> None:
        """Queue an entry. It is lost if Redis cannot be reached.

        Args:
            job_id: The job whose stream it enters.
            attempt: The attempt that the caller holds, or that the job's row has.
            kind: What happened.
            data: The fields that `EntryKind` describes.
        """
        with self._not_empty:
            # Microseconds, so that a stream that Redis lost continues after its readers' position.
            self._offset = max(self._offset + 1, time.time_ns() // 1000)
            self._pending.append(_Pending(job_id, attempt, self._offset, kind, data))
            if self._thread is None:
                # Not earlier: a thread does not survive a fork.
                self._thread = threading.Thread(
                    target=self._run, name="event-publisher", daemon=True
                )
                self._thread.start()
            self._not_empty.notify()

    def flush(self, seconds: float = CONNECT_TIMEOUT_SECONDS) -> bool:
        """Wait up to `seconds` until all entries are sent; return whether they are."""
        deadline = time.monotonic() + seconds
        while self._pending or self._sending:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _run(self) -> None:
        while True:
            with self._not_empty:
                while not self._pending:
                    self._not_empty.wait()
                # Before the entries leave the queue, since `flush` looks without the lock.
                self._sending = True
                count = min(len(self._pending), BATCH_SIZE)
                batch = [self._pending.popleft() for _ in range(count)]
            try:
                self._send(batch)
                self._unreachable = False
            except (redis.RedisError, OSError) as error:
                if not self._unreachable:
                    log.warning("events_not_published", reason=str(error))
                self._unreachable = True
            finally:
                self._sending = False

    def _send(self, batch: Sequence[_Pending]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for entry in batch:
            entry_id = f"{entry.attempt}-{entry.offset}"
            pipe.xadd(stream_key(entry.job_id), entry.fields, id=entry_id, maxlen=MAX_ENTRIES)
        for job_id in dict.fromkeys(entry.job_id for entry in batch):
            pipe.expire(stream_key(job_id), EXPIRE_SECONDS)
        answers = pipe.execute(raise_on_error=False)
        for entry, answer in zip(batch, answers, strict=False):
            if isinstance(answer, redis.ResponseError):
                self._append(entry, answer)
            elif isinstance(answer, Exception):
                raise answer

    def _append(self, entry: _Pending, error: redis.ResponseError) -> None:
        """Send a rejected entry again, with the next free id of the same attempt.

        The clocks of two hosts differ, so an id can be too small. An entry of an older attempt is
        rejected again, as it must be.
        """
        try:
            self._redis.xadd(
                stream_key(entry.job_id), entry.fields, id=f"{entry.attempt}-*", maxlen=MAX_ENTRIES
            )
        except redis.ResponseError:
            log.info(
                "event_too_late",
                job=entry.job_id,
                attempt=entry.attempt,
                kind=entry.kind,
                reason=str(error),
            )
