"""Waits for other processes."""

import time
from collections.abc import Callable
from typing import TypeVar

#: Some hosts have slow hours: a training of the fault tests took 61 to 79 seconds in one.
PATIENCE_SECONDS = 180.0

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Call `look` until it returns something true, and return that.

    Raises:
        AssertionError: The time is over; the message starts with `what`.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
    return found
