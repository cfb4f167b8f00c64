"""Slots for requests that are processed, granted to those who wait in turns.

Each sender has a queue of its own, and the queues take turns: a thousand requests of one sender
delay another's by one request.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Grant = Callable[[], object]


class FairSlots:
    """A bounded number of slots.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        #: The grants of each sender, in order; the first sender is next.
        self._waiting: OrderedDict[str, deque[Grant]] = OrderedDict()

    def submit(self, sender: str, grant: Grant) -> None:
        """Call `grant` as soon as a slot is the sender's: now, or from the thread that frees it."""
        with self._lock:
            if not self._free:
                self._waiting.setdefault(sender, deque()).append(grant)
                return
            self._free -= 1
        grant()

    def release(self) -> None:
        """Give a slot back; it goes to the sender whose turn it is."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            sender, grants = next(iter(self._waiting.items()))
            grant = grants.popleft()
            if grants:
                self._waiting.move_to_end(sender)
            else:
                del self._waiting[sender]
        grant()

    def acquire(self, sender: str) -> None:
        """Wait for a slot."""
        granted = threading.Event()
        self.submit(sender, granted.set)
        granted.wait()

    @contextmanager
    def held(self, sender: str) -> Iterator[None]:
        """Hold a slot for a while."""
        self.acquire(sender)
        try:
            yield
        finally:
            self.release()


class Slot:
    """One request's slot, which it may give back early, and only once.

    Args:
        slots: Where it comes from.
        sender: Whose request it is.
    """

    def __init__(self, slots: FairSlots, sender: str) -> None:
        self.sender = sender
        self._slots = slots
        self._lock = threading.Lock()
        self._is_held = True

    def release(self) -> None:
        """Give it back."""
        with self._lock:
            held, self._is_held = self._is_held, False
        if held:
            self._slots.release()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let another request have it while this one only waits."""
        self.release()
        try:
            yield
        finally:
            self._slots.acquire(self.sender)
            self._is_held = True
