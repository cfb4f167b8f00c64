"""Slots for requests that are processed, granted to those who wait in turns.

Each sender has a queue of its own, and the queues take turns. One sender has a share of the slots,
even when it is alone: requests compete for the interpreter's lock, with each other and with the
event loop. A few keep the core busy; 32 long ones of one sender would leave a thirtieth of it to
the short one that comes next.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

Grant = Callable[[], object]

#: The part of all slots that one sender may hold.
SHARE = 1 / 8
MIN_SHARE = 2


class FairSlots:
    """A bounded number of slots.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._count = self._free = count
        self._share = max(MIN_SHARE, round(count * SHARE))
        self._held: Counter[str] = Counter()
        #: The grants of each sender, in order; the first sender is next.
        self._waiting: OrderedDict[str, deque[Grant]] = OrderedDict()

    def submit(self, sender: str, grant: Grant) -> None:
        """Call `grant` as soon as a slot is the sender's: now, or from the thread that frees it."""
        with self._lock:
            self._waiting.setdefault(sender, deque()).append(grant)
            granted = self._grant()
        _call(granted)

    def release(self, sender: str) -> None:
        """Give a slot of the sender's back; it goes to the sender whose turn it is."""
        with self._lock:
            self._free += 1
            self._held[sender] -= 1
            if not self._held[sender]:
                del self._held[sender]
            granted = self._grant()
        _call(granted)

    def acquire(self, sender: str) -> None:
        """Wait for a slot."""
        _wait(partial(self.submit, sender))

    @contextmanager
    def held(self, sender: str) -> Iterator[None]:
        """Hold a slot for a while."""
        self.acquire(sender)
        try:
            yield
        finally:
            self.release(sender)

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for one."""
        return bool(self._waiting)

    @property
    def in_use(self) -> int:
        """How many are held."""
        return self._count - self._free

    def _grant(self) -> list[Grant]:
        """Take free slots for those who may have one, in turns.

        Whoever waits because of the share holds slots, and is looked at when it gives one back.
        """
        granted: list[Grant] = []
        while self._free and (sender := self._next()) is not None:
            grants = self._waiting[sender]
            granted.append(grants.popleft())
            if grants:
                self._waiting.move_to_end(sender)
            else:
                del self._waiting[sender]
            self._free -= 1
            self._held[sender] += 1
        return granted

    def _next(self) -> str | None:
        return next((each for each in self._waiting if self._held[each] < self._share), None)


def _call(granted: list[Grant]) -> None:
    for grant in granted:
        grant()


def _wait(ask: Callable[[Grant], object]) -> None:
    """Ask for a slot, and wait until it is granted."""
    granted = threading.Lock()
    granted.acquire()
    ask(granted.release)
    granted.acquire()


class Slot:
    """One request's slot, which it may give back early, and take again.

    Args:
        slots: Where it comes from.
        sender: Whose request it is.
    """

    def __init__(self, slots: FairSlots, sender: str) -> None:
        self.sender = sender
        self._slots = slots
        self._lock = threading.Lock()
        self._is_held = True
        self._is_over = False
        #: What is called when it is held again; empty unless somebody has asked for that.
        self._then: list[Grant] = []

    def release(self) -> None:
        """Give it back for good."""
        self._give_back(for_good=True)

    def pause(self) -> None:
        """Give it back for now."""
        self._give_back(for_good=False)

    @property
    def others_are_active(self) -> bool:
        """Whether other requests have a slot, or wait for one."""
        return self._slots.are_wanted or self._slots.in_use > self._is_held

    def take_again(self, then: Grant) -> None:
        """Take it again as soon as that is possible, and then call `then`.

        Any thread may call. Whoever wakes a request does so through this, or the request would wake
        only to wait for its slot. If it holds the slot, or is over, `then` is called at once.
        """
        with self._lock:
            waits = not (self._is_held or self._is_over)
            asks = waits and not self._then
            if waits:
                self._then.append(then)
        if asks:
            self._slots.submit(self.sender, self._granted)
        elif not waits:
            then()

    def resume(self) -> None:
        """Wait until it is this request's again, if it was given back. Only its thread may call."""
        if not self._is_held:
            _wait(self.take_again)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let another request have it while this one only waits."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def _give_back(self, *, for_good: bool) -> None:
        with self._lock:
            held, self._is_held = self._is_held, False
            self._is_over |= for_good
        if held:
            self._slots.release(self.sender)

    def _granted(self) -> None:
        with self._lock:
            then, self._then = self._then, []
            # The request may have ended meanwhile.
            held = self._is_held = not self._is_over
        if not held:
            self._slots.release(self.sender)
        for each in then:
            each()
