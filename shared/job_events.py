"""What a job says while it runs: a Redis Stream for each job, bounded, and gone an hour later.

Like wakes these are hints: the rows hold states, loss curves and finished texts for good, and
whoever follows a job looks at them again now and then. An entry's id is `attempt-offset`. Redis
takes no id that is not greater than the last one, so what the worker of an older attempt says
late never enters the stream.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker import CONNECT_TIMEOUT_SECONDS, redis_url

#: `state`: look at the job's row; not yet ended where it `begins`. `piece`: of a text, its
#: `position` among the job's, the `offset` in characters, the `text`; with the first one the
#: `prompt`. `metrics`: a point of a loss curve. `texts`: those of a training's `step` are there.
Kind = Literal["state", "piece", "metrics", "texts"]
Said = tuple[str, int, int, Kind, dict[str, Any]]

#: Of one job; about so many, since Redis drops whole blocks of them.
MAX_ENTRIES = 2_000
EXPIRE_SECONDS = 3600
#: What waits to be said while Redis is slow; the oldest is dropped first.
MAX_WAITING = 10_000
#: Entries sent at once.
SENT_AT_ONCE = 200
BEGINNING = "0-0"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a job has said.

    Attributes:
        id: ``attempt-offset``; ordered.
        kind: What it is.
        data: As `Kind` has it.
    """

    id: str
    kind: Kind
    data: dict[str, Any]


def order(entry_id: str) -> tuple[int, int]:
    """What orders the ids of entries."""
    attempt, _, offset = entry_id.partition("-")
    return int(attempt), int(offset)


def key(job_id: str) -> str:
    """The name of a job's stream."""
    return f"quire:job:{job_id}"


class Listener:
    """Reads streams; one for a process, its threads take connections of their own.

    Args:
        url: A Redis address in either spelling.
        most: How many may read at once.
        block_seconds: The longest that `read` is asked to wait.
    """

    def __init__(self, url: str, most: int, block_seconds: float) -> None:
        self._redis = redis.Redis.from_url(
            redis_url(url),
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # A server that is frozen must not hold a reader for ever.
            socket_timeout=block_seconds + CONNECT_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=most + 1,
            decode_responses=True,
        )

    def all(self, job_id: str) -> list[Entry]:
        """What is kept of a job's stream, in order.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        found: Any = self._redis.xrange(key(job_id))
        return _entries(found)

    def read(self, job_id: str, after: str, seconds: float) -> list[Entry]:
        """What came after an id, waited for if there is nothing yet.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        found: Any = self._redis.xread({key(job_id): after}, block=max(1, round(seconds * 1000)))
        return [entry for _key, entries in found or () for entry in _entries(entries)]

    def last(self, job_id: str) -> str:
        """The id of the last entry; `BEGINNING` where the stream is gone.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        found: Any = self._redis.xrevrange(key(job_id), count=1)
        return str(found[0][0]) if found else BEGINNING


def _entries(found: Iterable[Any]) -> list[Entry]:
    return [Entry(each, fields["kind"], json.loads(fields["data"])) for each, fields in found]


class Speaker:
    """Says things in a thread of its own, so that nobody waits for Redis.

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
        self._waiting: deque[Said] = deque(maxlen=MAX_WAITING)
        self._offset = 0
        self._there = threading.Condition()
        self._busy = False
        self._away = False
        self._thread: threading.Thread | None = None

    def say(self, job_id: str, attempt: int, kind: Kind, **data: Any) -> None:
        """Say something; it is lost where Redis is away.

        Args:
            job_id: Whose stream.
            attempt: Which the speaker holds, or the row has.
            kind: What it is.
            data: As `Kind` has it.
        """
        with self._there:
            # Microseconds, so that a stream that Redis lost goes on where its readers are.
            self._offset = max(self._offset + 1, time.time_ns() // 1000)
            self._waiting.append((job_id, attempt, self._offset, kind, data))
            if self._thread is None:
                # Not before: a thread does not outlive a fork.
                self._thread = threading.Thread(target=self._run, name="speaker", daemon=True)
                self._thread.start()
            self._there.notify()

    def flush(self, seconds: float = CONNECT_TIMEOUT_SECONDS) -> bool:
        """Wait until all is said, or for so long; whether it is."""
        deadline = time.monotonic() + seconds
        while self._waiting or self._busy:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _run(self) -> None:
        while True:
            with self._there:
                while not self._waiting:
                    self._there.wait()
                # First, since `flush` looks without the lock.
                self._busy = True
                count = min(len(self._waiting), SENT_AT_ONCE)
                said = [self._waiting.popleft() for _ in range(count)]
            try:
                self._send(said)
                self._away = False
            except (redis.RedisError, OSError) as error:
                if not self._away:
                    log.warning("nothing_said", reason=str(error))
                self._away = True
            finally:
                self._busy = False

    def _send(self, said: Sequence[Said]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for job_id, attempt, offset, kind, data in said:
            fields: Any = {"kind": kind, "data": json.dumps(data, ensure_ascii=False)}
            pipe.xadd(key(job_id), fields, id=f"{attempt}-{offset}", maxlen=MAX_ENTRIES)
        jobs = dict.fromkeys(one[0] for one in said)
        for job_id in jobs:
            pipe.expire(key(job_id), EXPIRE_SECONDS)
        answers = pipe.execute(raise_on_error=False)
        for one, answer in zip(said, answers, strict=False):
            if isinstance(answer, redis.ResponseError):
                self._say_behind(one, answer)
            elif isinstance(answer, Exception):
                raise answer

    def _say_behind(self, one: Said, error: redis.ResponseError) -> None:
        """Say what Redis refused once more, behind the last entry of the same attempt.

        Two hosts' clocks differ. Of an older attempt it is refused again, as it must be.
        """
        job_id, attempt, _, kind, data = one
        fields: Any = {"kind": kind, "data": json.dumps(data, ensure_ascii=False)}
        try:
            self._redis.xadd(key(job_id), fields, id=f"{attempt}-*", maxlen=MAX_ENTRIES)
        except redis.ResponseError:
            log.info("said_too_late", job=job_id, attempt=attempt, kind=kind, reason=str(error))
