"""``Prefer: wait=N``: hold a request until its job has ended, for a bounded time and number."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis

from api.front import NoSeat, Seat
from api.http.client_gone import client_gone
from api.permissions import current_user
from api.services import Services, services
from shared import job_events

Outcome = TypeVar("Outcome")

#: The job's events say when it ends. The row is checked all the same in case the events are lost,
#: and more often while Redis is unavailable: soon at first, then less often.
BLOCK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.5
PAUSE_GROWTH = 2.0
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


def seconds_to_wait(prefer: str | None) -> int:
    """Return how long a `Prefer` header (RFC 7240) asks to wait, capped; 0 without a wait."""
    match = _WAIT.search(prefer or "")
    longest = int(services().settings.wait_max_seconds)
    return min(int(match.group(1)), longest) if match else 0


@contextmanager
def wait_seat(seconds: int) -> Iterator[Seat | None]:
    """Take a seat for waiting; yield None if this request does not ask to wait, or may not."""
    if seconds <= 0:
        yield None
        return
    seats = services().wait_seats
    try:
        seat = seats.take(current_user().id)
    except NoSeat:
        yield None
        return
    try:
        yield seat
    finally:
        seats.leave(seat)


@contextmanager
def _without_request_slot() -> Iterator[None]:
    """Let another request be processed while this one only waits."""
    slots = services().request_slots
    slots.release()
    try:
        yield
    finally:
        slots.acquire()


def wait_for_end(
    job_id: str, seconds: int, check: Callable[[], Outcome | None], *, seat: Seat, new: bool
) -> Outcome | None:
    """Wait until a job has ended.

    Args:
        job_id: The job whose events are read.
        seconds: The longest wait.
        check: Reads the job's row in a new transaction, since an open one would keep seeing the
            same row. Returns None until the job has ended.
        seat: The seat that this request waits on.
        new: The job was created just now and can't have ended yet.

    Returns:
        The result of `check`; None if the time runs out, the server stops, the client hangs up or
        the seat goes to somebody else first.
    """
    shared = services()
    hung_up = client_gone()
    deadline = time.monotonic() + seconds
    pause, position = FIRST_PAUSE_SECONDS, job_events.BEGINNING
    outcome = None if new else check()
    while outcome is None:
        left = deadline - time.monotonic()
        if left <= 0 or shared.stopping.is_set() or seat.revoked.is_set() or hung_up():
            return None
        with _without_request_slot():
            try:
                position = _read_events(shared, job_id, position, min(BLOCK_SECONDS, left))
            except redis.RedisError:
                shared.stopping.wait(min(pause, left))
                pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        outcome = check()
    return outcome


def _read_events(shared: Services, job_id: str, position: str, seconds: float) -> str:
    """Read a job's events until it may have ended or the time is over; return the position."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        entries = shared.event_reader.read(job_id, position, left)
        position = entries[-1].id if entries else position
        if any(entry.kind == "state" and not entry.data.get("begins") for entry in entries):
            break
    return position
