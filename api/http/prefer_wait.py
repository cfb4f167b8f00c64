"""``Prefer: wait=N``: an answer that waits for its job, for a while, and not too many at once."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis

from api.services import Services, services
from shared import job_events

Found = TypeVar("Found")

#: Whoever waits is told of the end by the job's stream. The row is looked at all the same, in case
#: that the stream was lost, and more often where Redis is away: soon at first, then seldom.
LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.5
PAUSE_GROWTH = 2.0
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


def seconds_to_wait(prefer: str | None) -> int:
    """What a `Prefer` header asks for, within bounds; 0 where it asks for nothing (RFC 7240)."""
    found = _WAIT.search(prefer or "")
    longest = int(services().settings.wait_max_seconds)
    return min(int(found.group(1)), longest) if found else 0


@contextmanager
def a_slot(seconds: int) -> Iterator[bool]:
    """Whether this request may hold a thread of the server while it waits."""
    slots = services().wait_slots
    taken = seconds > 0 and slots.acquire(blocking=False)
    try:
        yield taken
    finally:
        if taken:
            slots.release()


def wait_for(
    job_id: str, seconds: int, look: Callable[[], Found | None], *, new: bool
) -> Found | None:
    """Wait until a job has ended.

    Args:
        job_id: Whose stream tells when it is worth looking.
        seconds: How long at most.
        look: Reads its row, in a transaction of its own: an open one would see the same row for
            ever. None while it goes on.
        new: It was made a moment ago and can't have ended yet.

    Returns:
        What `look` found; None where the time is over first, or the server stops.
    """
    shared = services()
    deadline = time.monotonic() + seconds
    pause, place = FIRST_PAUSE_SECONDS, job_events.BEGINNING
    found = None if new else look()
    while found is None:
        left = deadline - time.monotonic()
        if left <= 0 or shared.stopping.is_set():
            return None
        try:
            place = _hear(shared, job_id, place, min(LOOK_SECONDS, left))
        except redis.RedisError:
            shared.stopping.wait(min(pause, left))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        found = look()
    return found


def _hear(shared: Services, job_id: str, place: str, seconds: float) -> str:
    """Wait for so long, or until the job may have ended; where its stream is."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        entries = shared.listener.read(job_id, place, left)
        place = entries[-1].id if entries else place
        if any(entry.kind == "state" and not entry.data.get("begins") for entry in entries):
            break
    return place
