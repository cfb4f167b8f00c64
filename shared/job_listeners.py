"""Who listens to which job: a sorted set in Redis, whose members expire.

Pieces of a text, and events that its rows tell too, are published only for jobs that somebody
listens to. A listener announces itself first and reads the job's row afterwards, and a worker
commits first and looks for listeners afterwards: whichever comes first, the listener learns of the
change, from the row or from an event.

An announcement is published, too, so that a worker that is about to write the first characters
need not wait until it looks. That is a hint: a worker that misses it looks all the same.
"""

from collections.abc import Callable
from typing import Any

import redis
import structlog

from shared.subscription import Subscription, channel

#: The jobs that somebody listens to, each with the time at which the announcement expires.
KEY = "quire:listeners"
EXPIRE_SECONDS = 30.0
#: How often a listener announces itself again, also because Redis may have lost the set.
ANNOUNCE_SECONDS = 10.0
#: Names the channel of announcements.
SUBJECT = "listeners"

log = structlog.get_logger(__name__)


def announce(client: redis.Redis, job_id: str) -> None:
    """Say that somebody listens to a job.

    Raises:
        redis.RedisError: The server could not be reached.
    """
    # By Redis's clock, since those of machines differ.
    now = _seconds(client.time())
    member = {job_id: now + EXPIRE_SECONDS}
    pipe = client.pipeline(transaction=False)
    pipe.zadd(KEY, member)
    pipe.zremrangebyscore(KEY, 0, now)
    pipe.expire(KEY, round(EXPIRE_SECONDS))
    pipe.publish(channel(client, SUBJECT), job_id)
    added, *_ = pipe.execute(raise_on_error=False)
    if isinstance(added, redis.ResponseError):
        log.warning("listeners_replaced", reason=str(added))
        client.delete(KEY)
        client.zadd(KEY, member)
    elif isinstance(added, Exception):
        raise added


class AnnouncementListener(Subscription):
    """Hears which jobs somebody begins to listen to.

    Args:
        url: A Redis address in either spelling.
        note: Called with the id of each job, in the thread of this.
    """

    lost_event = "listeners_not_heard"

    def __init__(self, url: str, note: Callable[[str], object]) -> None:
        super().__init__(url, SUBJECT, "listeners")
        self._note = note

    def _receive(self, data: bytes) -> None:
        self._note(data.decode(errors="replace"))


class ListenerLookup:
    """Looks up which jobs are listened to.

    Args:
        client: The server.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._now = 0.0

    def look(self) -> frozenset[str]:
        """Return the ids of all jobs that somebody listens to.

        Raises:
            redis.RedisError: The server could not be reached.
        """
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        # Since the time of the last look: what has expired since then is sent and left out.
        pipe.zrangebyscore(KEY, self._now, "+inf", withscores=True)
        now, members = pipe.execute(raise_on_error=False)
        if isinstance(members, redis.ResponseError):
            return frozenset()  # No set: the next listener replaces it.
        if isinstance(members, Exception):
            raise members
        self._now = _seconds(now)
        return frozenset(
            member.decode(errors="replace") for member, until in members if until > self._now
        )


def _seconds(time: Any) -> float:
    seconds, microseconds = time
    return float(seconds) + float(microseconds) / 1e6
