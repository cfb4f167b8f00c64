"""A budget of bytes that many threads share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """Bounds the memory that is in use at the same time.

    Args:
        limit: The bytes of all holders together. A single one may hold more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, size: int) -> Iterator[bool]:
        """Hold bytes during the block.

        Yields:
            Whether there was room. Without room nothing is held.
        """
        size = min(size, self._limit)
        with self._lock:
            fits = self._held + size <= self._limit
            self._held += size if fits else 0
        try:
            yield fits
        finally:
            with self._lock:
                self._held -= size if fits else 0
