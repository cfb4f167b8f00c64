"""``Prefer: wait=N``: hold a request until its job has ended, for a bounded time and number."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from flask import request

from api.front import SLOT, NoSeat, Seat, Slot
from api.http.client_gone import client_gone, when_client_goes
from api.permissions import presented_user
from api.services import services
from shared.database import flush
from shared.job_ends import EndWaiter
from shared.queue.types import StoredText

Outcome = TypeVar("Outcome")

#: The end of a run is published. The row is checked all the same in case that is lost, and more
#: often while Redis is unavailable: soon at first, then less often.
CHECK_SECONDS = 1.0
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
        seat = seats.take(presented_user().id)
    except NoSeat:
        yield None
        return
    try:
        yield seat
    finally:
        seats.leave(seat)


def give_slot_back() -> None:
    """Let another request be processed while this one only waits."""
    slot = _slot()
    if slot is not None:
        slot.pause()


def others_are_active() -> bool:
    """Return whether other requests are processed now, or wait for that."""
    slot = _slot()
    return slot is not None and slot.others_are_active


def take_slot_again() -> None:
    """Go on, as soon as this request has a slot. It may have one still."""
    slot = _slot()
    if slot is not None:
        slot.resume()


def sleep_for_end(waiter: EndWaiter) -> None:
    """Let another request have the slot before this one sleeps; the end wakes it with a slot."""
    slot = _slot()
    if slot is not None:
        waiter.wake_with = slot.take_again
        slot.pause()


def _wait_without_slot(waiter: EndWaiter, seconds: float) -> None:
    """Wait for an end while another request has the slot; the end wakes this one with a slot."""
    slot = _slot()
    if slot is None:
        waiter.wait(seconds)
        return
    # Only now: while the request waits for another job, it must not hold a slot.
    waiter.wake_with = slot.take_again
    with slot.paused():
        waiter.wait(seconds)
        waiter.wake_with = None


def _slot() -> Slot | None:
    slot: Slot | None = request.environ.get(SLOT)
    return slot


@contextmanager
def expected_end(job_id: str) -> Iterator[EndWaiter]:
    """Expect the end of a job.

    It is entered before the commit of a new job, so that no end is missed.
    """
    ends = services().job_ends
    waiter = ends.expect(job_id, presented_user())
    when_client_goes(waiter.wake)
    try:
        yield waiter
    finally:
        ends.forget(waiter)


def wait_for_end(
    waiter: EndWaiter,
    deadline: float,
    check: Callable[[], Outcome | None],
    *,
    seat: Seat,
    new: bool,
) -> Outcome | None:
    """Wait until a job has ended.

    Args:
        waiter: From `expected_end`.
        deadline: How long to wait at most, by `time.monotonic`.
        check: Reads the job's row in a new transaction, since an open one would keep seeing the
            same row. Returns None until the job has ended.
        seat: The seat that this request waits on.
        new: The job was created by this request after `expected_end`: nothing is read before its
            end is heard. Its commit need not have waited for the disk.

    Returns:
        The result of `check`; None if the time runs out, the server stops, the client hangs up or
        the seat goes to somebody else first.
    """
    outcome = None
    try:
        outcome = _check_until_ended(waiter, deadline, check, seat=seat, new=new)
        return outcome
    finally:
        # An end that a worker has published has waited for the disk, and so for all before it. Of
        # anything else the client is told only when the disk has the job.
        if new and (outcome is None or waiter.end is None):
            flush(services().engine)


def _check_until_ended(
    waiter: EndWaiter,
    deadline: float,
    check: Callable[[], Outcome | None],
    *,
    seat: Seat,
    new: bool,
) -> Outcome | None:
    shared = services()
    hung_up = client_gone()
    pause = FIRST_PAUSE_SECONDS
    outcome = None
    # A published end may be lost while the request sleeps for its group, too.
    next_check = waiter.since + CHECK_SECONDS
    if not new or waiter.end is not None:
        take_slot_again()
        outcome = check()
        next_check = time.monotonic() + CHECK_SECONDS
    while outcome is None:
        left = deadline - time.monotonic()
        if left <= 0 or shared.stopping.is_set() or seat.revoked.is_set() or hung_up():
            return None
        is_listening = shared.job_ends.is_listening
        until_check = next_check - time.monotonic() if is_listening else pause
        _wait_without_slot(waiter, max(0.0, min(until_check, left)))
        if not is_listening:
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)
        outcome = check()
        next_check = time.monotonic() + CHECK_SECONDS
    return outcome


def published_texts(waiter: EndWaiter, status: str, attempt: int) -> Sequence[StoredText] | None:
    """Return the texts that were published with the end of a job; None to read them instead.

    They stand for the rows only if the row says that this attempt has succeeded, and no earlier
    one can have stored texts.
    """
    end = waiter.end
    if end is None or status != "succeeded" or attempt != 1 or end.attempt != attempt:
        return None
    return end.texts
